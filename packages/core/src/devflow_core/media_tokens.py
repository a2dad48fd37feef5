"""How many tokens a piece of media costs: what is likely, and what it may hold at the most."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from math import ceil

from devflow_core.messages import Media

_IMAGE_TOKENS = 1_600
"""A large image with Claude, which scales larger ones down; others are near it or below."""
_PAGE_TOKENS = 3_000 + _IMAGE_TOKENS
"""Of a PDF. Anthropic says "each page typically uses 1,500-3,000 tokens" of text, and that each is
sent as an image too (platform.claude.com/docs, "PDF support", November 2026)."""
_AUDIO_TOKENS, _VIDEO_TOKENS = 1_500, 10_000
"""Of a minute or so."""
_PAGE_BYTES = 50_000
"""Of a PDF that does not say how many pages it has: scans have more, text has less."""
_MAX_PAGES = 600
"""More are refused by Anthropic's API."""
_MAX_READ_CHARS = 262_144
"""Of a PDF in base64, from its beginning: it is read on the path of a request."""
_PAGE = re.compile(rb"/Type\s*/Page(?![a-zA-Z])")
_PAGE_COUNT = re.compile(rb"/Count\s+(\d{1,4})(?!\d)")
_MIN_BYTES_PER_TOKEN = {"file": 1, "audio": 100, "video": 100}
"""Packed text unfolds to about four bytes a byte, sound has 10 to 32 tokens and at least 3,000
bytes a second."""


def media_tokens(media: Media) -> int:
    """What a piece of media likely costs."""
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
    """What a file, sound or film may hold at the most, as far as it came with the request.

    None for an image: vendors scale it down, so `media_tokens` covers it.
    """
    per_token = _MIN_BYTES_PER_TOKEN.get(media.kind)
    return None if per_token is None else len(media.base64 or "") * 3 // 4 // per_token


def _count_pages(encoded: str) -> int:
    """Pages of a PDF; where they are packed away, as many as its size makes likely."""
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
