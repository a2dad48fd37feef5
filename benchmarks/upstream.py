"""An upstream that answers at once, in a separate process, so that only the client is measured.

    with upstream.run_upstream() as base_url: ...

It speaks chat completions, messages and responses, whole and streamed. The model's name says how
the reply comes: `bench/chunks-50` is 50 events with text, `bench/paced-5ms-50` one every 5 ms (each
form is one of `SHAPES`); a name outside of `bench/` is 4 events. A field `user` of that form takes
precedence, for callers that route to real models. The text is 1 kB in all cases; every reply has an
id of its own.

Where there is a C compiler, `native/upstream.c` sends the bytes, from the same templates.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from compiler import find_program

TEXT = ("The quick brown fox jumps over the lazy dog, and the gateway counts its tokens. " * 13)[
    :1024
]
MODEL_MARK, NUMBER_MARK = "@MODEL@", "@NUMBER@"
ID = f"gen-1780944465-zk8dli4tj1Vs{NUMBER_MARK}"
SHAPES = (
    "model", "chunks-1", "chunks-2", "chunks-4", "chunks-50", "chunks-201", "chunks-500",
    "chunks-501", "paced-5ms-50", "paced-200ms-10",
)  # fmt: skip
"""Every form of reply that benchmarks ask for; `model` is that of names outside of `bench/`."""
KINDS = ("/chat/completions", "/messages", "/responses")
_HEADERS = f"X-Generation-Id: {ID}\r\n"
_MODEL = re.compile(rb'"model"\s*:\s*"([^"]{0,200})"')
_STREAM = re.compile(rb'"stream"\s*:\s*true')
_MODEL_OVERRIDE = re.compile(rb'"user"\s*:\s*"(bench/[^"]{0,200})"')
_CHUNKS = re.compile(r"(?:paced-([0-9]+)ms|chunks)-([0-9]+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A reply with marks where the model and the reply's number belong."""

    head: bytes
    """Without the lines that say how the body is delimited."""
    pieces: tuple[bytes, ...]
    """The events of a stream; otherwise the body alone."""
    is_chunked: bool
    pause_s: float = 0.0
    """Between two pieces."""

    def fill(self, model: str) -> tuple[bytes, ...]:
        """Return the frames that go out, with the mark of the number left in."""
        pieces = [one.replace(MODEL_MARK.encode(), model.encode()) for one in self.pieces]
        if not self.is_chunked:
            return (self.head + b"Content-Length: %d\r\n\r\n" % len(pieces[0]) + pieces[0],)
        frames = [b"%x\r\n%b\r\n" % (len(one), one) for one in pieces]
        first = self.head + b"Transfer-Encoding: chunked\r\n\r\n" + frames[0]
        return (first, *frames[1:-1], frames[-1] + b"0\r\n\r\n")

    def pack(self, key: str) -> bytes:
        """Return it as `native/upstream.c` reads it."""
        numbers = struct.pack("<dII", self.pause_s, self.is_chunked, len(self.pieces) + 1)
        return _pack(key.encode()) + numbers + b"".join(map(_pack, (self.head, *self.pieces)))


def _pack(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data


@contextlib.contextmanager
def run_upstream(core: int | None = None) -> Generator[str]:
    """Start it on a free loopback port, yield its base URL, and end it on exit.

    Args:
        core: the processor core that it stays on; None is any.
    """
    program = find_program("upstream")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "templates"
        file.write_bytes(_pack_templates())
        command = [str(program), str(file)] if program else [sys.executable, __file__]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        assert process.stdout is not None
        try:
            port = int(process.stdout.readline())
            yield f"http://127.0.0.1:{port}/api/v1"
        finally:
            process.terminate()
            process.wait()
            process.stdout.close()


def _pack_templates() -> bytes:
    """Return every template, behind their number."""
    ways = (*KINDS, "/models")
    packed = [
        make_template(kind, shape, is_stream=is_stream).pack(
            f"{kind} {shape} {'stream' if is_stream else 'whole'}"
        )
        for kind in ways
        for shape in SHAPES
        for is_stream in (False, True)
    ]
    return struct.pack("<I", len(packed)) + b"".join(packed)


@functools.lru_cache
def make_template(kind: str, shape: str, *, is_stream: bool) -> Template:
    """Return the reply of a route in one of `SHAPES`."""
    assert shape in SHAPES, f"There is no form of reply named {shape!r}."
    if not is_stream or kind == "/models":
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{_HEADERS}"
        return Template(head=head.encode(), pieces=(_encode_whole(kind),), is_chunked=False)
    match = _CHUNKS.search(shape)
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{_HEADERS}"
        "Cache-Control: no-cache\r\n"
    )
    return Template(
        head=head.encode(),
        pieces=tuple(_encode_events(kind, int(match[2]) if match else 4)),
        is_chunked=True,
        pause_s=int(match[1] or 0) / 1000 if match else 0.0,
    )


class _UpstreamProtocol(asyncio.Protocol):
    """A connection: parses requests with a content-length and sends prepared bytes."""

    numbers = itertools.count(1)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._buffer = b""
        self._pacing: asyncio.Task[None] | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        if self._pacing is not None:
            self._pacing.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            position = head.find(b"content-length:")
            size = int(head[position + 15 :].split(b"\r\n", 1)[0]) if position >= 0 else 0
            if len(self._buffer) < end + 4 + size:
                return
            body = self._buffer[end + 4 : end + 4 + size]
            self._buffer = self._buffer[end + 4 + size :]
            self._answer(head.split(b" ", 2)[1].decode(), body)

    def _answer(self, path: str, body: bytes) -> None:
        match = _MODEL.search(body)
        model = match[1].decode() if match else "bench/model"
        override = _MODEL_OVERRIDE.search(body)
        shape = override[1].decode() if override else model
        shape = shape.removeprefix("bench/") if shape.startswith("bench/") else "model"
        kind = next((one for one in (*KINDS, "/models") if path.endswith(one)), KINDS[0])
        template = make_template(kind, shape, is_stream=_STREAM.search(body) is not None)
        number = b"%08x" % next(self.numbers)
        frames = [one.replace(NUMBER_MARK.encode(), number) for one in _fill(template, model)]
        if not template.pause_s:
            self._transport.write(b"".join(frames))
        else:
            self._pacing = asyncio.ensure_future(self._pace(frames, template.pause_s))

    async def _pace(self, frames: list[bytes], pause_s: float) -> None:
        for frame in frames:
            self._transport.write(frame)
            await asyncio.sleep(pause_s)


@functools.lru_cache
def _fill(template: Template, model: str) -> tuple[bytes, ...]:
    return template.fill(model)


def _usage(kind: str) -> dict[str, object]:
    cost: dict[str, object] = {
        "cost": 0.000064,
        "is_byok": False,
        "cost_details": {"upstream_inference_cost": 0.000064},
    }
    if kind == "/chat/completions":
        counts = {"prompt_tokens": 14, "completion_tokens": 256, "total_tokens": 270}
        details: dict[str, object] = {
            "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        }
        return {**counts, **cost, **details}
    return {"input_tokens": 14, "output_tokens": 256, "total_tokens": 270, **cost}


def _encode_whole(kind: str) -> bytes:
    """Return the body of a complete reply."""
    if kind == "/models":
        body: dict[str, object] = {"data": []}
    elif kind == "/messages":
        body = {
            "id": ID, "type": "message", "role": "assistant", "model": MODEL_MARK,
            "provider": "Bench", "content": [{"type": "text", "text": TEXT}],
            "stop_reason": "end_turn", "stop_sequence": None, "usage": _usage(kind),
        }  # fmt: skip
    elif kind == "/responses":
        item: dict[str, object] = {
            "type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": TEXT, "annotations": []}],
        }  # fmt: skip
        body = {
            "id": ID, "object": "response", "created_at": 1, "status": "completed",
            "model": MODEL_MARK, "output": [item], "usage": _usage(kind),
        }  # fmt: skip
    else:
        message = {"role": "assistant", "content": TEXT, "refusal": None, "reasoning": None}
        choice = {
            "index": 0, "logprobs": None, "finish_reason": "stop",
            "native_finish_reason": "end_turn", "message": message,
        }  # fmt: skip
        body = {
            "id": ID, "object": "chat.completion", "created": 1780944465, "model": MODEL_MARK,
            "provider": "Bench", "system_fingerprint": None, "service_tier": None,
            "choices": [choice], "usage": _usage(kind),
        }  # fmt: skip
    return json.dumps(body).encode()


def _encode_events(kind: str, count: int) -> list[bytes]:
    """Return the events of a streamed reply whose text comes in so many."""
    size = -(-len(TEXT) // count)
    texts = [TEXT[start : start + size] for start in range(0, len(TEXT), size)]
    texts += ["."] * (count - len(texts))
    events = {"/messages": _messages_events, "/responses": _responses_events}
    return events.get(kind, _chat_events)(texts)


def _event(body: dict[str, object], name: str | None = None) -> bytes:
    prefix = f"event: {name}\n" if name else ""
    return f"{prefix}data: {json.dumps(body, separators=(',', ':'))}\n\n".encode()


def _chat_events(texts: list[str]) -> list[bytes]:
    def chunk(content: str, finish: str | None, **more: object) -> bytes:
        choice = {
            "index": 0, "delta": {"content": content, "role": "assistant"},
            "finish_reason": finish, "native_finish_reason": "end_turn" if finish else None,
        }  # fmt: skip
        return _event(
            {
                "id": ID, "object": "chat.completion.chunk", "created": 1780944465,
                "model": MODEL_MARK, "provider": "Bench", "choices": [choice], **more,
            }
        )  # fmt: skip

    ending = [chunk("", "stop"), chunk("", "stop", usage=_usage("/chat/completions"))]
    return [*(chunk(one, None) for one in texts), *ending, b"data: [DONE]\n\n"]


def _messages_events(texts: list[str]) -> list[bytes]:
    message: dict[str, object] = {
        "id": ID, "type": "message", "role": "assistant", "model": MODEL_MARK, "content": [],
        "provider": "Bench", "stop_reason": None, "usage": {"input_tokens": 0, "output_tokens": 0},
    }  # fmt: skip
    block: dict[str, object] = {"type": "text", "text": ""}
    bodies: list[dict[str, object]] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": block},
    ]
    for one in texts:
        delta = {"type": "text_delta", "text": one}
        bodies.append({"type": "content_block_delta", "index": 0, "delta": delta})
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    closing: list[dict[str, object]] = [
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": end, "usage": _usage("/messages")},
        {"type": "message_stop"},
    ]
    return [_event(body, str(body["type"])) for body in (*bodies, *closing)]


def _responses_events(texts: list[str]) -> list[bytes]:
    response: dict[str, object] = {
        "id": ID, "object": "response", "created_at": 1, "model": MODEL_MARK, "output": [],
    }  # fmt: skip
    item = {"type": "message", "id": "msg_1", "role": "assistant"}
    place: dict[str, object] = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    part: dict[str, object] = {"type": "output_text", "text": "", "annotations": []}
    full_part = {**part, "text": "".join(texts)}
    done_item = {**item, "status": "completed", "content": [full_part]}
    bodies: list[dict[str, object]] = [
        {"type": "response.created", "response": {**response, "status": "in_progress"}},
        {
            "type": "response.output_item.added", "output_index": 0,
            "item": {**item, "status": "in_progress", "content": []},
        },
        {"type": "response.content_part.added", **place, "part": part},
        *({"type": "response.output_text.delta", **place, "delta": one} for one in texts),
        {"type": "response.output_text.done", **place, "text": full_part["text"]},
        {"type": "response.content_part.done", **place, "part": full_part},
        {"type": "response.output_item.done", "output_index": 0, "item": done_item},
        {
            "type": "response.completed",
            "response": {
                **response, "status": "completed", "output": [done_item],
                "usage": _usage("/responses"),
            },
        },
    ]  # fmt: skip
    numbered = [{**body, "sequence_number": number} for number, body in enumerate(bodies)]
    return [*(_event(body) for body in numbered), b"data: [DONE]\n\n"]


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_UpstreamProtocol, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve())
