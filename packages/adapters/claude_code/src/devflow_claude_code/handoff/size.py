"""Estimates the tokens of a conversation: text by the core's rule, media by their content."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from math import ceil

from devflow_core.estimates import CHARS_PER_TOKEN
from devflow_core.messages import Media, Message, Part, Text, ToolCall, ToolResult

_IMAGE_TOKENS = 1_600
"""Cost of a large image with Claude; other models are close."""
_PAGE_TOKENS = 3_000 + _IMAGE_TOKENS
"""Tokens of a PDF page. Anthropic says "each page typically uses 1,500-3,000 tokens" of text, and
that each is sent as an image too (platform.claude.com/docs, "PDF support", November 2026).
"""
_PAGE_BYTES = 50_000
"""Bytes per page of a PDF that does not tell its page count: scans have more, text has less."""
_MAX_PAGES = 600
"""Anthropic's API refuses longer documents."""
_PAGE = re.compile(rb"/Type\s*/Page(?![a-zA-Z])")
_PAGE_COUNT = re.compile(rb"/Count\s+(\d{1,4})(?!\d)")


def estimate_tokens(messages: tuple[Message, ...]) -> int:
    """Estimate the tokens of a conversation."""
    parts = [part for message in messages for part in message.parts]
    # 16 bytes a message for its role and delimiters
    text_bytes = sum(_count_bytes(part) for part in parts) + 16 * len(messages)
    return ceil(text_bytes / CHARS_PER_TOKEN) + sum(_media_tokens(part) for part in parts)


def _count_bytes(part: Part) -> int:
    match part:
        case Text():
            return len(part.text.encode("utf-8", "replace"))
        case ToolCall():
            return len(part.arguments.encode("utf-8", "replace")) + len(part.name) + 16
        case ToolResult():
            return sum(_count_bytes(one) for one in part.parts) + 16
        case Media():
            return len(part.url or "")
        case _:
            return 0


def _media_tokens(part: Part) -> int:
    match part:
        case ToolResult():
            return sum(_media_tokens(one) for one in part.parts)
        case Media(kind="image"):
            return _IMAGE_TOKENS
        case Media():
            return _count_pages(part.base64) * _PAGE_TOKENS
        case _:
            return 0


def _count_pages(encoded: str | None) -> int:
    """Count the pages of a PDF; if the page objects are compressed, estimate from its size."""
    try:
        content = b64decode(encoded or "", validate=False)
    except (binascii.Error, ValueError):
        content = b""
    listed = max((int(one) for one in _PAGE_COUNT.findall(content)), default=0)
    # best evidence first: page objects, the page tree's count, the size
    pages = len(_PAGE.findall(content)) or listed or ceil(len(content) / _PAGE_BYTES)
    return min(max(pages, 1), _MAX_PAGES)
