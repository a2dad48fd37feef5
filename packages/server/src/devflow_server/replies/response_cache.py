"""Caches replies that may be repeated, and computes the key of a request."""

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

from devflow_server.replies.reply import ReplyMetadata

# they decide the form of a reply, not its content
_IGNORED_FIELDS = frozenset({"stream", "stream_options"})
# other endings are failures, or refusals that the next try might not meet
_CACHEABLE_FINISH_REASONS = frozenset({"stop", "tool_calls", "length"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedResponse:
    """A complete reply that may be repeated."""

    events: tuple[Event, ...]
    metadata: ReplyMetadata
    expires_s: float
    """When it may no longer be repeated, on the monotonic clock."""
    size_bytes: int
    """The approximate memory that its events take."""


class ResponseCache:
    """Replies in this process's memory; each worker has its own.

    Args:
        ttl_s: how long a reply may be repeated, in seconds.
        max_bytes: limit for all replies together; the least recently used are dropped first.
        clock: returns monotonic seconds.
    """

    def __init__(
        self,
        *,
        ttl_s: float,
        max_bytes: int = 64 * 1024 * 1024,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ttl_s = ttl_s
        self._max_bytes = max_bytes
        self._clock = clock
        self._entries: OrderedDict[bytes, CachedResponse] = OrderedDict()
        self._bytes = 0

    def get(self, key: bytes) -> CachedResponse | None:
        """Return the reply for a key; None if it is missing or expired."""
        cached = self._entries.get(key)
        if cached is None:
            return None
        if self._clock() >= cached.expires_s:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return cached

    def put(self, key: bytes, events: tuple[Event, ...], metadata: ReplyMetadata) -> None:
        """Keep a complete reply in place of an earlier one.

        Replies that end with anything but `stop`, `tool_calls` or `length` are ignored, and so are
        those that would take more than an eighth of `max_bytes`.
        """
        last = events[-1] if events else None
        if not isinstance(last, Finished) or last.finish_reason not in _CACHEABLE_FINISH_REASONS:
            return
        size = sum(_size_of(event) for event in events)
        # one huge reply must not push out many others
        if size > self._max_bytes // 8:
            return
        self._drop(key)
        self._entries[key] = CachedResponse(
            events=events, metadata=metadata, expires_s=self._clock() + self._ttl_s, size_bytes=size
        )
        self._bytes += size
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: bytes) -> None:
        cached = self._entries.pop(key, None)
        if cached is not None:
            self._bytes -= cached.size_bytes


def may_cache(request: ChatRequest, headers: Mapping[str, str]) -> bool:
    """Return whether identical requests may share a reply: at temperature 0, or if asked for.

    Never if `X-DevFlow-No-Cache` was sent, or the request has no `origin`.
    """
    if "x-devflow-no-cache" in headers or request.origin is None:
        return False
    return request.temperature == 0 or headers.get("x-devflow-cache", "").lower() == "on"


def cache_key(request: ChatRequest, caller: str) -> bytes:
    """Return the key of a request: a hash of all that determines its reply, and of its caller.

    Callers share nothing. Whether the reply is streamed makes no difference.
    """
    origin = request.origin
    body: Mapping[str, Any] = (origin.body if origin else None) or {}
    fields = {name: body[name] for name in body if name not in _IGNORED_FIELDS}
    whole = [
        caller,
        request.user_key,
        request.model,
        request.allowed_models,
        origin.wire if origin else None,
        # a trace differs in every request, and changes nothing in the reply
        [list(pair) for pair in (origin.headers if origin else ()) if pair[0] != "traceparent"],
        str(request.criteria),
        fields,
    ]
    return hashlib.sha256(orjson.dumps(whole, option=orjson.OPT_SORT_KEYS)).digest()


def _size_of(event: Event) -> int:
    """Return roughly how many bytes an event takes in memory."""
    frame = len(event.frame.data) if event.frame is not None else 0
    # about 200 bytes for the objects of an event
    return 200 + frame + len(getattr(event, "text", "")) + len(getattr(event, "arguments", ""))
