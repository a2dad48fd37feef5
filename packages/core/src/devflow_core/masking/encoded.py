"""Finds secrets in base64 by encoded forms of known prefixes, and confirms each by decoding."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode

_BEGINNINGS = (
    b"sk-or-", b"sk-ant-", b"sk-proj-", b"github_pat_", b"ghp_", b"gho_", b"ghs_", b"AKIA",
    b"xoxb-", b"xoxp-", b"devflow_", b"-----BEGIN", b"Bearer ", b"glpat-", b"AIza", b"npm_",
    b"password", b"secret",
)  # fmt: skip
_RUN = re.compile(r"[A-Za-z0-9+/_-]{20,}={0,2}")
_TOKEN = re.compile(
    rb"sk-[A-Za-z0-9_-]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{30,}|(?:AKIA|ASIA)[A-Z0-9]{16}"
    rb"|xox[abeoprs]-[A-Za-z0-9-]{10,}|devflow_[A-Za-z0-9_-]{16,}|glpat-[A-Za-z0-9_-]{20,}"
    rb"|AIza[A-Za-z0-9_-]{35}|npm_[A-Za-z0-9]{36}|-----BEGIN [A-Z ]*PRIVATE KEY-----"
    rb"|Bearer [A-Za-z0-9._~+/-]{16,}|(?:password|secret)\w{0,16}[\"']?\s?[:=]\s?[\"']?[!-~]{8,}"
)


def _cores(beginning: bytes) -> set[str]:
    """Return its base64 at all three alignments, without characters that also encode neighbours."""
    found: set[str] = set()
    for before, skipped in ((0, 0), (1, 2), (2, 3)):
        encoded = b64encode(bytes(before) + beginning).rstrip(b"=").decode()
        is_whole = (before + len(beginning)) % 3 == 0
        found.add(encoded[skipped : None if is_whole else -1])
    return found


_CORES = tuple(sorted({core for one in _BEGINNINGS for core in _cores(one)}))


def mask_encoded(text: str, mask: str) -> tuple[str, int]:
    """Return the text with `mask` in place of likely secrets in base64, and how many were found."""
    if _RUN.search(text) is None or not _has_core(text):
        return text, 0
    count = 0

    def replace(match: re.Match[str]) -> str:
        nonlocal count
        run = match.group()
        if not _has_core(run) or not _is_token(run):
            return run
        count += 1
        return mask

    return _RUN.sub(replace, text), count


def _has_core(text: str) -> bool:
    return any(core in text for core in _CORES)


def _is_token(run: str) -> bool:
    """Return whether base64 decodes to a token at any of the four possible offsets."""
    plain = run.rstrip("=").replace("-", "+").replace("_", "/")
    return any(
        _TOKEN.search(b64decode(plain[start : len(plain) - (len(plain) - start) % 4])) is not None
        for start in range(4)
    )
