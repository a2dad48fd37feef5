"""Tells whether a score is that of the model that it was published under.

Providers relay scores that others measured, and join them by name: an id may carry the score of
another maker's model, of the next version, or of a larger variant. The name under which a score was
measured tells.
"""

from __future__ import annotations

import re
from functools import lru_cache

from devflow_routing.model_config import ModelConfig

_PARENTHESES = re.compile(r"\([^)]*\)")
_PART = re.compile(r"\d+(?:\.\d+)*[bm]?(?![a-z\d])|[a-z]+|\d+(?:\.\d+)*")
# fmt: off
_VARIANT_WORDS = frozenset((
    "air", "code", "coder", "codex", "customtools", "deep", "exp", "fast", "flash", "haiku", "high",
    "large", "lite", "luna", "max", "medium", "micro", "mini", "nano", "omni", "opus", "plus",
    "preview", "pro", "research", "small", "sol", "sonnet", "super", "terra", "think", "thinking",
    "turbo", "ultra", "vl",
))
# fmt: on
"""Words that tell variants of a model apart."""
_OPTIONAL_WORDS = frozenset({"preview", "exp", "thinking", "high"})
"""Words that may stand among the settings, in the parentheses of a name, instead."""
MAX_CACHED_NAMES = 2_048
"""The most names whose comparison is remembered."""


def names_agree(shown: str, model: ModelConfig) -> bool:
    """Return whether the name that a score was measured under is one of this model.

    Args:
        shown: the name as published, with settings in parentheses; empty: nothing speaks against.
        model: the model that the score is listed for.
    """
    return not shown or _agree(shown, model.id, model.canonical_slug, model.name)


@lru_cache(maxsize=MAX_CACHED_NAMES)
def _agree(shown: str, *own: str) -> bool:
    bare = _split(_PARENTHESES.sub(" ", shown))
    settings = _split(" ".join(_PARENTHESES.findall(shown)))
    names = [_split(one.rpartition("/")[2].rpartition(": ")[2].partition(":")[0]) for one in own]
    known = frozenset[str]().union(*names)
    added = {part for part in bare if part in _VARIANT_WORDS or part[0].isdigit()}
    if any(part not in known for part in added):
        return False
    # what all own names say and the published one does not: a plainer model was measured
    needed = names[0].intersection(*(one for one in names if one)) & _VARIANT_WORDS
    return all(
        part in bare or (part in _OPTIONAL_WORDS and _stands_in(part, settings)) for part in needed
    )


def _stands_in(word: str, settings: frozenset[str]) -> bool:
    return word in settings or (word == "thinking" and "reasoning" in settings)


def _split(name: str) -> frozenset[str]:
    """Return the words and numbers of a name."""
    text = re.sub(r"(\d)\.0\b", r"\1", name.lower().replace("+", " plus ").replace("_", " "))
    return frozenset(_PART.findall(text))
