"""Describes in words the calls and results of tools that ran at Anthropic."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from devflow_claude_code.reading.rows import Json

_WORDY_FIELDS = (
    "title", "url", "source", "page_age", "query", "command", "path", "code", "text", "thinking",
    "stdout", "stderr", "content", "input", "lines", "error_code", "tool_references", "tool_name",
    "data",
)  # fmt: skip
"""The fields of a result that are read, in this order; not ids, signatures or encrypted content."""
_MAX_DEPTH = 8
"""The deepest level that is read: JSON may nest deeper than Python can recurse."""


def is_server_block(kind: str) -> bool:
    """Return whether a block is a call or result of a server's tool, a found page or a compaction.

    Args:
        kind: the block's `type`; not `tool_use` or `tool_result`, which are the client's own.
    """
    return kind.endswith(("_tool_use", "_tool_result")) or kind in ("search_result", "compaction")


def describe_block(block: Json) -> str:
    """Describe a block that is neither text nor a client's tool call in words, never as JSON.

    For an unknown kind, only its name is given.
    """
    kind = str(block.get("type") or "unnamed")
    if not is_server_block(kind):
        return f"[a block of the kind {_plain(kind)} was left out]"
    if kind.endswith("_tool_use"):
        server = block.get("server_name")
        place = f" of {_plain(server)}" if isinstance(server, str) else ""
        return _join(
            f"[{_plain(str(block.get('name') or 'tool'))}{place} was asked]", _pairs(block)
        )
    head = kind.removesuffix("_tool_result").replace("_", " ")
    return _join(f"[{_plain(head)}: what came back]", _words(block.get("content"), 0))


def has_encrypted_content(block: object) -> bool:
    """Return whether a part of the block is encrypted, so that only Anthropic can read it."""
    return _has_encrypted(block, 0)


def _join(head: str, lines: Iterator[str]) -> str:
    return "\n".join((head, *(line for line in lines if line.strip())))


def _pairs(block: Json) -> Iterator[str]:
    """Yield the arguments of a call, one per line."""
    arguments = block.get("input")
    if isinstance(arguments, dict):
        for name, value in cast("Json", arguments).items():
            words = value if isinstance(value, str) else " ".join(_every_scalar(value, 0))
            yield f"{name}: {words}"


def _words(value: object, depth: int) -> Iterator[str]:
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in cast("list[object]", value):
            yield from _words(one, depth + 1)
    elif isinstance(value, dict):
        yield from _words_of_object(cast("Json", value), depth)


def _words_of_object(value: Json, depth: int) -> Iterator[str]:
    title, url = value.get("title"), value.get("url") or value.get("source")
    if isinstance(title, str) and isinstance(url, str):
        age = value.get("page_age")
        yield f"{title} ({url}{f', {age}' if isinstance(age, str) else ''})"
        skipped = {"title", "url", "source", "page_age"}
    elif value.get("type") == "base64":
        yield f"[{_plain(str(value.get('media_type') or 'a file'))}]"
        return
    else:
        skipped = set[str]()
    if value.get("type") != "text":
        skipped.add("data")  # encoded bytes, of any kind
    for name in _WORDY_FIELDS:
        if name in value and name not in skipped:
            yield from _words(value[name], depth + 1)


def _every_scalar(value: object, depth: int) -> Iterator[str]:
    if depth > _MAX_DEPTH or value is None:
        return
    if isinstance(value, dict):
        for name, one in cast("Json", value).items():
            yield f"{name}: {' '.join(_every_scalar(one, depth + 1))}"
    elif isinstance(value, list):
        for one in cast("list[object]", value):
            yield from _every_scalar(one, depth + 1)
    else:
        yield str(value)


def _has_encrypted(value: object, depth: int) -> bool:
    if depth > _MAX_DEPTH:
        return False
    if isinstance(value, list):
        return any(_has_encrypted(one, depth + 1) for one in cast("list[object]", value))
    return isinstance(value, dict) and any(
        name.startswith("encrypted_") or _has_encrypted(one, depth + 1)
        for name, one in cast("Json", value).items()
    )


def _plain(name: str) -> str:
    """Reduce a name from a transcript to characters that cannot close the brackets around it."""
    return "".join(one for one in name[:80] if one.isalnum() or one in " _-.")
