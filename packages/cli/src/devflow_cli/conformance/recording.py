"""Sends one request and records the answer with the time at which each of its events came."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import httpx
import orjson
from devflow_core.errors import ReplyTooLarge
from devflow_core.safe_text import excerpt
from devflow_core.wire import SseReader

from devflow_cli.conformance.terms import ClauseBroken

JsonObject = dict[str, Any]
MAX_BODY_BYTES = 16 << 20
"""The longest answer that is read; a longer one counts as a broken clause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedEvent:
    """One event of a stream; comments are not recorded."""

    name: str
    """The `event:` field; empty if there is none."""
    data: bytes
    at_s: float
    """When its last byte was read, on the monotonic clock; events read together have one time."""

    @property
    def json(self) -> JsonObject:
        """The data as an object; empty if it is not one, such as `[DONE]` or broken bytes."""
        try:
            return as_object(orjson.loads(self.data))
        except orjson.JSONDecodeError:
            return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """The whole answer to one request."""

    status: int
    headers: httpx.Headers
    body: bytes
    events: tuple[TimedEvent, ...]
    """The events of a stream; empty for any other answer."""
    sent_s: float
    """When the request was sent, on the monotonic clock."""
    ended_s: float
    """When the answer had ended, on the monotonic clock."""

    @property
    def excerpt(self) -> str:
        """The body's beginning, for messages: in one line, with secrets masked."""
        return excerpt(self.body, 120)

    @property
    def json(self) -> JsonObject:
        """The body as an object.

        Raises:
            ClauseBroken: it is not one.
        """
        try:
            value = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            value = None
        if not isinstance(value, dict):
            raise ClauseBroken(f"the body is not a JSON object: {self.excerpt!r}")
        return cast(JsonObject, value)


def as_object(value: object) -> JsonObject:
    """Return a value as an object; empty if it is not one."""
    return cast(JsonObject, value) if isinstance(value, dict) else {}


def as_objects(value: object) -> list[JsonObject]:
    """Return the objects in a list; empty if the value is not a list."""
    found = cast("list[object]", value) if isinstance(value, list) else []
    return [cast(JsonObject, one) for one in found if isinstance(one, dict)]


async def record(
    client: httpx.AsyncClient, path: str, body: JsonObject, headers: Mapping[str, str]
) -> Recording:
    """Send a JSON body with POST and record the answer, whatever its status is.

    Raises:
        ClauseBroken: the answer, or one event of it, is too long.
        httpx.HTTPError: there is no answer, or it breaks off.
    """
    reader, events, read = SseReader(), list[TimedEvent](), bytearray()
    sent_s = time.monotonic()
    # a compressed stream would come in lumps that the gateway did not make
    sent = {**headers, "accept-encoding": "identity"}
    async with client.stream("POST", path, json=body, headers=sent) as reply:
        is_stream = "text/event-stream" in reply.headers.get("content-type", "")
        async for piece in reply.aiter_raw():
            at_s = time.monotonic()
            read += piece
            if len(read) > MAX_BODY_BYTES:
                raise ClauseBroken(f"the answer is longer than {MAX_BODY_BYTES >> 20} MiB")
            if is_stream:
                events += _take_events(reader, piece, at_s)
        ended_s = time.monotonic()
        # the end of a broken stream may lack its blank line
        events += [
            TimedEvent(name=one.event or "", data=one.data, at_s=ended_s)
            for one in reader.close()
            if one.data is not None
        ]
    return Recording(
        status=reply.status_code,
        headers=reply.headers,
        body=bytes(read),
        events=tuple(events),
        sent_s=sent_s,
        ended_s=ended_s,
    )


async def leave_at_text(
    client: httpx.AsyncClient,
    path: str,
    body: JsonObject,
    headers: Mapping[str, str],
    find_text: Callable[[TimedEvent], str],
) -> None:
    """Send a streamed request, and hang up at the first event in which `find_text` finds text.

    Raises:
        ClauseBroken: the stream ends without such an event, or an event is too long.
        httpx.HTTPError: there is no answer, or it breaks off.
    """
    reader = SseReader()
    sent = {**headers, "accept-encoding": "identity"}
    async with client.stream("POST", path, json=body, headers=sent) as reply:
        async for piece in reply.aiter_raw():
            if any(find_text(one) for one in _take_events(reader, piece, 0.0)):
                return
    raise ClauseBroken("the stream ended without any text")


def _take_events(reader: SseReader, piece: bytes, at_s: float) -> list[TimedEvent]:
    try:
        frames = reader.feed(piece)
    except ReplyTooLarge:
        raise ClauseBroken("one event of the stream is longer than 1 MiB") from None
    return [
        TimedEvent(name=one.event or "", data=one.data, at_s=at_s)
        for one in frames
        if one.data is not None
    ]
