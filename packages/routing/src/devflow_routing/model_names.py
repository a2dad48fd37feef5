"""Normalizes the names that other programs and clouds give to a model."""

from __future__ import annotations

import re
from dataclasses import dataclass

_WINDOW = re.compile(r"\[[^\]]*\]")
"""Claude Code's `[1m]` asks for a longer window of the same model."""
_BEDROCK = re.compile(r"^(?:[a-z-]+\.)?[a-z][a-z0-9]*\.(?=[a-z])")
"""A region and a vendor before the name: `us.anthropic.`, `global.anthropic.`, `amazon.`."""
_BEDROCK_PROFILE = re.compile(r":\d+k?(?=-fast$|:|$)")
_BEDROCK_VERSION = re.compile(r"-v?\d(?=-fast$|$)")
"""Suffixes of Bedrock's names: `-v1`, `-v1:0`, `-1:0`, `-v2:0:200k`."""
_DATE = re.compile(r"[-@](?:20\d{6}|latest|default)(?=-|:|$)")
"""Release dates, as Anthropic (`-20250929`) and Vertex AI (`@20250929`) write them."""
_VARIANT = re.compile(r":([a-z]+)$")
_RELEASE_WORDS = frozenset({"preview", "latest", "exp", "beta", "instruct", "chat"})
"""Words for how a model is released, which change while its family stays."""
_SEPARATORS = re.compile(r"[-._@]")


@dataclass(frozen=True, slots=True)
class ClaudeName:
    """The name of a Claude, known or not."""

    words: tuple[str, ...]
    """The words but `claude`, sorted: the family (`opus`), and a way of serving (`fast`)."""
    version: tuple[int, ...]
    """The numbers of the name without dates: (4, 5) for `claude-sonnet-4.5`."""
    variant: str
    """The variant, such as `batch` or `nitro`; empty for the plain model."""


def normalize_name(name: str) -> str:
    """Return a name without author, date and punctuation.

    Its words are sorted alphabetically, and its numbers follow in their order: `claude-3.5-haiku`
    and `claude-haiku-3-5` are one model, `claude-haiku-5-3` is another. Of an ARN or a path, the
    last part counts.
    """
    return _normalize_slug(_slug_of(name))


def family_words(name: str) -> frozenset[str]:
    """Return the words that tell a family: without numbers, dates, and words for a release."""
    base, _ = split_variant(name)
    tokens = (one for one in _SEPARATORS.split(_DATE.sub("", _slug_of(base))) if one)
    return frozenset(one for one in tokens if not one.isdecimal()) - _RELEASE_WORDS


def split_variant(name: str) -> tuple[str, str]:
    """Return a name and its variant (`batch`, `free`; empty if none); Bedrock's `:0` is not one."""
    found = _VARIANT.search(name)
    return (name[: found.start()], found[1]) if found else (name, "")


def normalized_spellings(name: str) -> tuple[str, ...]:
    """Return the normalized names that a foreign name may stand for, the most likely first."""
    slug = _slug_of(name)
    plain = _BEDROCK.sub("", slug)
    if plain == slug:
        return (_normalize_slug(slug),)
    versioned = _BEDROCK_PROFILE.sub("", plain)
    return (_normalize_slug(versioned), _normalize_slug(_BEDROCK_VERSION.sub("", versioned)))


def read_claude_name(name: str) -> ClaudeName | None:
    """Parse the name of a Claude in any cloud's spelling; return None for any other name.

    The model itself may be unknown: `claude-opus-9`, `us.anthropic.claude-opus-9-20270101-v1:0`.
    """
    base, variant = split_variant(name)
    author = base.lower().rpartition("/")[0]
    if author and "anthropic" not in author and not author.startswith("arn:"):
        return None
    tokens = normalized_spellings(base)[-1].split("-")
    words = [one for one in tokens if not one.isdecimal()]
    if "claude" not in words:
        return None
    words.remove("claude")
    version = tuple(int(one) for one in tokens if one.isdecimal())
    return ClaudeName(words=tuple(words), version=version, variant=variant)


def _slug_of(name: str) -> str:
    return _WINDOW.sub("", name.lower()).rpartition("/")[2]


def _normalize_slug(slug: str) -> str:
    tokens = [one for one in _SEPARATORS.split(_DATE.sub("", slug)) if one]
    numbers = [one for one in tokens if one.isdecimal()]
    return "-".join([*sorted(one for one in tokens if not one.isdecimal()), *numbers])
