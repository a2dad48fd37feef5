"""Masks texts: known secrets first, then what looks like a secret."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import cast

import orjson

from devflow_core.masking.encoded import mask_encoded
from devflow_core.masking.invisible import strip_zero_width
from devflow_core.masking.known_secrets import KNOWN_SECRETS, MIN_SECRET_CHARS
from devflow_core.masking.patterns import PATTERNS, SecretPattern

_ENCODED = "[masked base64]"
_SHORT_CHARS = 64


class Masker:
    """Masks secrets in a series of texts and counts what it found."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        """The number of secrets found, by kind."""

    def mask(self, text: str) -> str:
        """Return the text with every secret replaced, for instance by `[masked API key]`."""
        if len(text) < MIN_SECRET_CHARS:
            return text
        text, count = KNOWN_SECRETS.mask(text)
        self._count("key in use", count)
        return self.mask_by_form(text)

    def mask_by_form(self, text: str) -> str:
        """Return the text with everything that looks like a secret replaced."""
        text = self._mask_patterns(text)
        visible = strip_zero_width(text)
        if visible is not text and visible != text:
            # hidden characters inside a secret: all hidden characters of the text are removed with
            # it
            masked = self._mask_patterns(visible)
            text = text if masked == visible else masked
        text, count = mask_encoded(text, _ENCODED)
        self._count("base64", count)
        return text

    def mask_json(self, value: object) -> str:
        """Return a value as JSON text without secrets; the text stays well-formed."""
        text = orjson.dumps(value, default=str).decode()
        if "PRIVATE KEY-----" in text:  # the only pattern that matches beyond the end of a string
            text = orjson.dumps(self.mask_value(value), default=str).decode()
        return self.mask(text)

    def mask_value(self, value: object) -> object:
        """Return a JSON value with every text in it masked, including field names."""
        if isinstance(value, str):
            return self.mask(value)
        if isinstance(value, list | tuple):
            return [self.mask_value(one) for one in cast("list[object]", value)]
        if isinstance(value, Mapping):
            return {
                self.mask(str(name)): self.mask_value(one)
                for name, one in cast("Mapping[object, object]", value).items()
            }
        return value

    def summary_lines(self) -> tuple[str, ...]:
        """Return the numbers of masked secrets as text for people: `2 × API key masked`."""
        return tuple(f"{count} × {kind} masked" for kind, count in sorted(self.counts.items()))

    def _mask_patterns(self, text: str) -> str:
        lowered = _lower(text)
        for pattern in PATTERNS:
            masked = self._mask_pattern(pattern, text, lowered)
            if masked is not text:
                text, lowered = masked, _lower(masked)
        return text

    def _mask_pattern(self, pattern: SecretPattern, text: str, lowered: str) -> str:
        places = _find_places(pattern.starts, lowered)
        if not places:
            return text
        pieces: list[str] = []
        end = 0
        for place in sorted(places):
            match = pattern.pattern.match(text, place) if place >= end else None
            if match is None:
                continue
            name = match.groupdict().get("name") or ""
            if pattern.is_secret is None or pattern.is_secret(match[0][len(name) :]):
                pieces += text[end:place], name, f"[masked {pattern.kind}]"
                end = match.end()
        self._count(pattern.kind, len(pieces) // 3)
        return "".join((*pieces, text[end:])) if pieces else text

    def _count(self, kind: str, count: int) -> None:
        if count:
            self.counts[kind] += count


def mask(text: str) -> str:
    """Return the text without secrets, for an error, a log or a report."""
    if len(text) < MIN_SECRET_CHARS:
        return text
    text, _ = KNOWN_SECRETS.mask(text)
    return _mask_short(text) if len(text) <= _SHORT_CHARS else Masker().mask_by_form(text)


@lru_cache(maxsize=2048)
def _mask_short(text: str) -> str:
    """Mask a short text; cached, since routes, ids and model names recur in the log."""
    return Masker().mask_by_form(text)


def _lower(text: str) -> str:
    """Return the text in lower case, with its length unchanged."""
    return text.replace("\u0130", "i").lower()


def _find_places(starts: tuple[str, ...], lowered: str) -> set[int]:
    """Return where any of these begins; far faster than trying a pattern at every position."""
    places: set[int] = set()
    for start in starts:
        place = lowered.find(start)
        while place >= 0:
            places.add(place)
            place = lowered.find(start, place + 1)
    return places
