"""Before anything leaves the machine: keys are masked, and characters that deceive are shown."""

from __future__ import annotations

import re
from collections import Counter
from typing import cast

import orjson

_PEM = r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
_SECRETS = {
    "private key": _PEM,
    "API key": r"\b(?:sk|rk|pk)-[A-Za-z0-9_-]{16,}|\b(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,}"
    r"|\bdevflow_[A-Za-z0-9_-]{16,}|\bhf_[A-Za-z0-9]{30,}|\bAIza[A-Za-z0-9_-]{35}"
    r"|\bnpm_[A-Za-z0-9]{36}|\bpypi-[A-Za-z0-9_-]{50,}|\bglpat-[A-Za-z0-9_-]{20,}"
    r"|\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",
    "GitHub token": r"\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_[A-Za-z0-9_]{40,}",
    "AWS key": r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    "Slack token": r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"
    r"|hooks\.slack\.com/services/[A-Za-z0-9/]{20,}",
    "JSON web token": r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{5,}",
    "bearer token": r"(?<=[Bb]earer )[A-Za-z0-9._~+/-]{16,}=*",
    "password in a URL": r"(?<=://)[^\s:/@\"'\\]{1,64}:[^\s:/@\"'\\]{3,128}(?=@)",
    "assigned secret": r"(?i:(?P<name>"
    r"(?:secret|token|passw(?:or)?d|api_?key|access_?key|credential)s?"
    r"\\?[\"']?[ \t]{0,4}[:=][ \t]{0,4}\\?[\"']?))"
    r"(?=[^\s\"'\\]{0,80}[0-9])(?=[^\s\"'\\]{0,80}[A-Za-z])[^\s\"'\\<>${}(),;]{8,}",
}
_PATTERNS = tuple((kind, re.compile(pattern)) for kind, pattern in _SECRETS.items())
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u2069\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


class Masker:
    """Masks secrets in one text after the other and counts what it found."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        """Kind of secret → how many."""

    def mask(self, text: str) -> str:
        """The text without secrets; `[masked API key]` stands for one."""
        for kind, pattern in _PATTERNS:
            text, count = pattern.subn(lambda match, kind=kind: _mask_match(match, kind), text)
            if count:
                self.counts[kind] += count
        return text

    def mask_json(self, value: object) -> str:
        """A value as JSON text without secrets; it stays well-formed."""
        text = orjson.dumps(value, default=str).decode()
        if "PRIVATE KEY-----" in text:  # the only pattern that reaches over the end of a string
            text = orjson.dumps(self._mask_value(value), default=str).decode()
        return self.mask(text)

    def _mask_value(self, value: object) -> object:
        if isinstance(value, str):
            return self.mask(value)
        if isinstance(value, list):
            return [self._mask_value(one) for one in cast("list[object]", value)]
        if isinstance(value, dict):
            return {
                name: self._mask_value(one)
                for name, one in cast("dict[str, object]", value).items()
            }
        return value

    def summary_lines(self) -> tuple[str, ...]:
        """What was masked, for people: `2 × API key masked`."""
        return tuple(f"{count} × {kind} masked" for kind, count in sorted(self.counts.items()))


def escape_invisible(text: str) -> str:
    """Control, zero-width, bidirectional and tag characters written out as escapes.

    They can hide instructions from the person who looks at a prompt, or move the cursor of a
    terminal. Joiners (U+200C, U+200D) stay: emoji and several scripts need them.
    """
    return _INVISIBLE.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def _mask_match(match: re.Match[str], kind: str) -> str:
    prefix = match.groupdict().get("name") or ""
    return f"{prefix}[masked {kind}]"
