"""Parses the JSON of a request's body, within limits on its contents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar, cast

from devflow_core.errors import InvalidRequest
from devflow_core.messages import JsonObject
from devflow_core.wire import parse_body

from devflow_server.http.limits import MAX_BLOCKS, MAX_JSON_VALUES, MAX_MESSAGES, MAX_TOOLS
from devflow_server.off_loop import run_by_size

T = TypeVar("T")
_MESSAGE_LISTS = ("messages", "input")


async def read_body(body: bytes, decode: Callable[[JsonObject], T]) -> T:
    """Return what `decode` makes of a body's JSON; a large body is parsed and decoded in a thread.

    Errors of `decode` pass through.

    Raises:
        InvalidRequest: the body is not a JSON object, or exceeds a limit.
        MemoryError: no thread could be started.
    """
    return await run_by_size(len(body), partial(_read, body, decode))


def _read(body: bytes, decode: Callable[[JsonObject], T]) -> T:
    value = parse_body(body, max_values=MAX_JSON_VALUES)
    # counted before `decode` turns every piece into an object
    for name in _MESSAGE_LISTS:
        messages = _items(value.get(name))
        _check(name, len(messages), MAX_MESSAGES, "messages")
        _check(name, sum(map(_count_blocks, messages)), MAX_BLOCKS, "pieces of content")
    _check("tools", len(_items(value.get("tools"))), MAX_TOOLS, "tools")
    return decode(value)


def _check(name: str, count: int, most: int, what: str) -> None:
    if count > most:
        raise InvalidRequest(f"{name}: this gateway takes {most:,} {what} at the most.")


def _count_blocks(message: object) -> int:
    if not isinstance(message, dict):
        return 1
    return len(_items(cast("dict[str, Any]", message).get("content")))


def _items(value: object) -> Sequence[object]:
    return cast("list[object]", value) if isinstance(value, list) else ()
