"""Estimates the tokens of media: the likely count, and the most that they may hold."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from math import ceil

from devflow_core.messages import Media

_IMAGE_TOKENS = 1_600
"""The tokens of a large image for Claude, which scales larger ones down; others are close."""
_PAGE_TOKENS = 3_000 + _IMAGE_TOKENS
"""Tokens of a page of a PDF.

Anthropic says "each page typically uses 1,500-3,000 tokens" of text, and that each is sent as an
image too (platform.claude.com/docs, "PDF support", November 2026).
"""
_AUDIO_TOKENS, _VIDEO_TOKENS = 1_500, 10_000
"""The tokens of about a minute of audio and of video."""
_PAGE_BYTES = 50_000
"""The bytes of a page if a PDF does not say how many it has: scans have more, text has less."""
_MAX_PAGES = 600
"""The most pages of a PDF that Anthropic's API accepts."""
_MAX_READ_CHARS = 262_144
"""The most characters of a PDF in base64 that are read, since reading delays the request."""
_PAGE = re.compile(rb"/Type\s*/Page(?![a-zA-Z])")
_PAGE_COUNT = re.compile(rb"/Count\s+(\d{1,4})(?!\d)")
_MIN_BYTES_PER_TOKEN = {"file": 1, "audio": 93, "video": 93}
"""Lower bounds on the bytes that one token takes, by kind of media.

Packed text unfolds to about four bytes per byte. Audio has 10 to 32 tokens and at least 3,000 bytes
per second, so 93.75 bytes per token; video is taken to need no fewer.
"""


def media_tokens(media: Media) -> int:
    """Return the likely number of tokens of a piece of media."""
    match media.kind:
        case "image":
            return _IMAGE_TOKENS
        case "file":
            return _count_pages(media.base64 or "") * _PAGE_TOKENS
        case "audio":
            return _AUDIO_TOKENS
        case _:
            return _VIDEO_TOKENS


def max_media_tokens(media: Media) -> int | None:
    """Return the most tokens that a file, audio or video sent in the request may hold.

    0 if only its URL is sent. None for an image: vendors scale it down, so `media_tokens` covers
    it.
    """
    per_token = _MIN_BYTES_PER_TOKEN.get(media.kind)
    return None if per_token is None else ceil(len(media.base64 or "") * 3 // 4 / per_token)


def _count_pages(encoded: str) -> int:
    """Return the likely number of pages of a PDF, from 1 to `_MAX_PAGES`.

    Pages are counted in the part that is read and scaled up; if none are found, as in a compressed
    PDF, the size decides.
    """
    read = encoded[:_MAX_READ_CHARS]
    try:
        content = b64decode(read, validate=False)
    except (binascii.Error, ValueError):
        content = b""
    share = len(encoded) / max(len(read), 1)
    listed = max((int(one) for one in _PAGE_COUNT.findall(content)), default=0)
    found = ceil(len(_PAGE.findall(content)) * share)
    pages = max(found, listed) if share > 1 else found or listed
    pages = pages or ceil(len(encoded) * 3 // 4 / _PAGE_BYTES)
    return min(max(pages, 1), _MAX_PAGES)
