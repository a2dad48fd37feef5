"""Replies that may be repeated: the key of a request, and what is kept for how long."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from devflow_core.events import Event, Finished
from devflow_core.request import ChatRequest

from devflow_server.replies.reply import Facts

_NOT_PART_OF_THE_QUESTION = frozenset({"stream", "stream_options"})
_WHOLE = frozenset({"stop", "tool_calls", "length"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A whole reply that may be repeated."""

    events: tuple[Event, ...]
    facts: Facts
    until_s: float
    size_bytes: int


class Memo:
    """Replies in the memory of this process; each worker has its own.

    Args:
        ttl_s: how long a reply may be repeated.
        most_bytes: of all replies together; the ones used longest ago go first.
        clock: monotonic.
    """

    def __init__(
        self,
        *,
        ttl_s: float,
        most_bytes: int = 64 * 1024 * 1024,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ttl_s = ttl_s
        self._most_bytes = most_bytes
        self._clock = clock
        self._kept: OrderedDict[bytes, Kept] = OrderedDict()
        self._bytes = 0

    def get(self, key: bytes) -> Kept | None:
        """The reply for a key, unless it is too old."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        if self._clock() >= kept.until_s:
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return kept

    def put(self, key: bytes, events: tuple[Event, ...], facts: Facts) -> None:
        """Keep a whole reply; one that is no plain success is not kept."""
        last = events[-1] if events else None
        if not isinstance(last, Finished) or last.finish_reason not in _WHOLE:
            return
        size = sum(_size_of(event) for event in events)
        if size > self._most_bytes // 8:
            return
        self._drop(key)
        self._kept[key] = Kept(
            events=events, facts=facts, until_s=self._clock() + self._ttl_s, size_bytes=size
        )
        self._bytes += size
        while self._bytes > self._most_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: bytes) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._bytes -= kept.size_bytes


def may_repeat(request: ChatRequest, headers: Mapping[str, str]) -> bool:
    """Whether an exact repetition may get the same reply: at temperature 0, or where asked for."""
    if "x-devflow-no-cache" in headers or request.origin is None:
        return False
    return request.temperature == 0 or headers.get("x-devflow-cache", "").lower() == "on"


def key_of(request: ChatRequest, caller: str) -> bytes:
    """The key of a request: all of it, whoever pays, and whose it is; never shared by callers."""
    origin = request.origin
    body: Mapping[str, Any] = (origin.body if origin else None) or {}
    question = {name: body[name] for name in body if name not in _NOT_PART_OF_THE_QUESTION}
    whole = [
        caller,
        request.user_key,
        request.model,
        request.allowed_models,
        origin.wire if origin else None,
        [list(pair) for pair in (origin.headers if origin else ()) if pair[0] != "traceparent"],
        str(request.criteria),
        question,
    ]
    return hashlib.sha256(orjson.dumps(whole, option=orjson.OPT_SORT_KEYS)).digest()


def _size_of(event: Event) -> int:
    """Roughly what an event holds in memory."""
    frame = len(event.frame.data) if event.frame is not None else 0
    return 200 + frame + len(getattr(event, "text", "")) + len(getattr(event, "arguments", ""))
