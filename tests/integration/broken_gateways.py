"""Gateways that are broken in one way each: proxies in front of one that is whole."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import httpx
from devflow_cli.conformance.recording import as_object, as_objects
from devflow_core.wire import SseReader

Json = dict[str, Any]
Asks = Callable[["Passage"], tuple[int, Json] | None]
Events = Callable[["Passage", Json], Sequence[Json]]
DONE: Json = {"done": True}
"""Stands for the event `[DONE]`."""
_TLS = ssl.create_default_context()
"""Made once: each client would make its own, which takes longer than all of its requests."""
_ADDRESSES = count(1)
_HOP = {"host", "content-length", "connection", "transfer-encoding", "accept-encoding"}


@dataclass
class Passage:
    """One request on its way through, with what the events of its reply have told so far."""

    method: str
    path: str
    headers: dict[str, str]
    body: Json
    status: int = 0
    reply_headers: dict[str, str] = field(default_factory=dict[str, str])
    seen: Json = field(default_factory=dict[str, Any])

    def is_below(self, path: str) -> bool:
        return self.path.partition("?")[0].endswith(path)


def _ask(_: Passage) -> tuple[int, Json] | None:
    return None


def _whole(_: Passage, body: Json) -> Json:
    return body


def _event(_: Passage, data: Json) -> Sequence[Json]:
    return [data]


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to be broken, and the only clause that it breaks."""

    name: str
    clause: str
    path: str = ""
    """Only requests whose path ends so are treated badly."""
    ask: Asks = _ask
    """Changes the request, or refuses it with a status and a body."""
    whole: Callable[[Passage, Json], Json] = _whole
    """Changes a body that is no stream; `Passage.status` and `.reply_headers` may be changed."""
    event: Events = _event
    """Returns what is sent in place of an event of a stream."""
    buffers: bool = False
    reads_on: bool = False
    """Whether the reply is read to its end though the client has left."""
    cuts_characters: bool = False
    comments: bool = False
    """Whether a comment stands before every event."""


@asynccontextmanager
async def broken_gateway(way: Way, target: str, key: str) -> AsyncGenerator[str]:
    """Run a gateway that passes all on to another, but for its one fault; gives its URL."""
    # from an address of its own: wrong keys of one address have to wait ever longer
    source = f"127.0.1.{next(_ADDRESSES)}"
    transport = httpx.AsyncHTTPTransport(verify=_TLS, local_address=source)
    async with httpx.AsyncClient(base_url=target, timeout=60, transport=transport) as client:
        proxy = _Proxy(way, client, key)
        server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            await proxy.end()
            await server.wait_closed()


class _Proxy:
    def __init__(self, way: Way, client: httpx.AsyncClient, key: str) -> None:
        self._way = way
        self._client = client
        self._key = key
        self._running: set[asyncio.Task[None]] = set()

    async def end(self) -> None:
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            while True:
                await self._pass(await _read_request(reader), writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _pass(self, passage: Passage, writer: asyncio.StreamWriter) -> None:
        way = self._way
        is_meant = passage.is_below(way.path)
        passage.seen["key"] = self._key
        refused = way.ask(passage) if is_meant else None
        if refused is not None:
            passage.status = refused[0]
            _write_whole(passage, json.dumps(refused[1]).encode(), writer)
            return
        content = json.dumps(passage.body).encode() if passage.method == "POST" else b""
        async with self._client.stream(
            passage.method, passage.path, content=content, headers=passage.headers
        ) as reply:
            passage.status = reply.status_code
            passage.reply_headers = {
                key: value for key, value in reply.headers.items() if key not in _HOP
            }
            if "text/event-stream" in reply.headers.get("content-type", ""):
                await self._pass_stream(passage, reply, writer, is_meant=is_meant)
                return
            raw = await reply.aread()
            if is_meant and raw:
                raw = _cut(json.dumps(way.whole(passage, json.loads(raw)), ensure_ascii=False), way)
            _write_whole(passage, raw, writer)

    async def _pass_stream(
        self,
        passage: Passage,
        reply: httpx.Response,
        writer: asyncio.StreamWriter,
        *,
        is_meant: bool,
    ) -> None:
        way, sse, kept = self._way, SseReader(), b""
        writer.write(_head(passage, "transfer-encoding: chunked"))
        async for piece in reply.aiter_raw():
            out = b""
            for frame in sse.feed(piece):
                if frame.data is None:
                    out += frame.raw
                    continue
                data = DONE if frame.data == b"[DONE]" else json.loads(frame.data)
                sent = way.event(passage, data) if is_meant else [data]
                out += b": still here\n\n" if is_meant and way.comments else b""
                out += b"".join(_encode(one, has_name=frame.event is not None) for one in sent)
            if is_meant and way.cuts_characters:
                out = _cut(out.decode(), way)
            if is_meant and way.buffers:
                kept += out
            elif out:
                await self._write(out, writer, reads_on=is_meant and way.reads_on)
        await self._write(kept, writer, reads_on=False)
        writer.write(b"0\r\n\r\n")

    async def _write(self, out: bytes, writer: asyncio.StreamWriter, *, reads_on: bool) -> None:
        if not out:
            return
        try:
            writer.write(f"{len(out):x}\r\n".encode() + out + b"\r\n")
            await writer.drain()
        except ConnectionError:
            if not reads_on:
                raise


def _encode(data: Json, *, has_name: bool) -> bytes:
    if data is DONE:
        return b"data: [DONE]\n\n"
    name = f"event: {data['type']}\n" if has_name else ""
    return f"{name}data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def _cut(text: str, way: Way) -> bytes:
    """Return the text; of a way that cuts characters, each few bytes are decoded by themselves."""
    raw = text.encode()
    if not way.cuts_characters:
        return raw
    pieces = [raw[start : start + 5] for start in range(0, len(raw), 5)]
    return "".join(piece.decode("utf-8", "replace") for piece in pieces).encode()


async def _read_request(reader: asyncio.StreamReader) -> Passage:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {key.lower(): value for key, value in (line.split(": ", 1) for line in lines)}
    raw = await reader.readexactly(int(headers.get("content-length", 0)))
    kept = {key: value for key, value in headers.items() if key not in _HOP}
    return Passage(method, path, kept, json.loads(raw) if raw else {})


def _head(passage: Passage, length: str) -> bytes:
    lines = [f"{key}: {value}" for key, value in passage.reply_headers.items()]
    text = "\r\n".join([f"HTTP/1.1 {passage.status} X", *lines, length])
    return (text + "\r\n\r\n").encode("latin-1")


def _write_whole(passage: Passage, raw: bytes, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        writer.write(_head(passage, f"content-length: {len(raw)}") + raw)


# requests that are changed or refused


def refuse(status: int, message: str = "it is not known here") -> tuple[int, Json]:
    error = {"type": "invalid_request_error", "message": message}
    return status, {"type": "error", "error": error}


def without(*fields: str) -> Callable[[Passage], None]:
    def ask(passage: Passage) -> None:
        for name in fields:
            passage.body.pop(name, None)

    return ask


def with_fields(**fields: Any) -> Callable[[Passage], None]:
    def ask(passage: Passage) -> None:
        passage.body |= {key: value for key, value in fields.items() if key in passage.body}

    return ask


def without_messages(field: str, *kinds: str, after: int = 0) -> Callable[[Passage], None]:
    """Drop messages or items whose role or type is one of these, but for the first few."""

    def ask(passage: Passage) -> None:
        kept: list[Json] = []
        passed = 0
        for one in as_objects(passage.body.get(field)):
            is_meant = one.get("role") in kinds or one.get("type") in kinds
            passed += is_meant
            if not is_meant or passed <= after:
                kept.append(one)
        if kept:
            passage.body[field] = kept

    return ask


def without_parts(field: str, kind: str, after: int = 0) -> Callable[[Passage], None]:
    """Drop the parts of a type from the content of all messages, but for the first few of each."""

    def ask(passage: Passage) -> None:
        for one in as_objects(passage.body.get(field)):
            parts = as_objects(one.get("content"))
            meant = [part for part in parts if part.get("type") == kind]
            kept = [part for part in parts if part not in meant or part in meant[:after]]
            if parts:
                one["content"] = kept

    return ask


def without_marks(passage: Passage) -> None:
    text = json.dumps(passage.body)
    passage.body = json.loads(re.sub(r', "cache_control": \{[^}]*\}', "", text))


# replies that are changed


def with_status_200(passage: Passage, body: Json) -> Json:
    passage.status = 200
    return body


def in_another_shape(passage: Passage, body: Json) -> Json:
    return {"detail": str(body["error"])} if passage.status >= 400 else body


def without_request_id(passage: Passage, body: Json) -> Json:
    names = [one for one in passage.reply_headers if one.endswith("request-id")]
    for one in names:
        del passage.reply_headers[one]
    body.pop("request_id", None)
    as_object(body.get("error")).pop("metadata", None)
    return body


def without_usage(passage: Passage, data: Json) -> Sequence[Json]:
    if data is not DONE:
        data["usage"] = None
    return [data]
