"""An upstream that answers at once, in a separate process, so that only the client is measured.

    with upstream.run_upstream() as base_url: ...

It speaks chat completions, messages and responses, whole and streamed. The model's name says how
the reply comes: `bench/chunks-51` is 51 events with text, `bench/paced-5ms-51` one every 5 ms; any
other name is 4. A field `user` of that form takes precedence, for callers that route to real
models. The text is 1 kB in all cases.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import re
import subprocess
import sys
from collections.abc import Generator

TEXT = ("The quick brown fox jumps over the lazy dog, and the gateway counts its tokens. " * 13)[
    :1024
]
ID = "gen-1780944465-zk8dli4tj1VsUfFSXDLR"
_HEADERS = f"X-Generation-Id: {ID}\r\n"
_MODEL = re.compile(rb'"model"\s*:\s*"([^"]{0,200})"')
_STREAM = re.compile(rb'"stream"\s*:\s*true')
_MODEL_OVERRIDE = re.compile(rb'"user"\s*:\s*"(bench/[^"]{0,200})"')
_CHUNKS = re.compile(r"(?:paced-([0-9]+)ms|chunks)-([0-9]+)$")


@contextlib.contextmanager
def run_upstream() -> Generator[str]:
    """Start it on a free loopback port, yield its base URL, and end it on exit."""
    process = subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline())
        yield f"http://127.0.0.1:{port}/api/v1"
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


class _UpstreamProtocol(asyncio.Protocol):
    """A connection: parses requests with a content-length and sends prepared bytes."""

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
        if shape := _MODEL_OVERRIDE.search(body):
            model = shape[1].decode()
        if _STREAM.search(body) is None:
            self._transport.write(_encode_reply(path, model))
            return
        frames, pause_s = _encode_stream(path, model)
        if not pause_s:
            self._transport.write(b"".join(frames))
        else:
            self._pacing = asyncio.ensure_future(self._pace(frames, pause_s))

    async def _pace(self, frames: tuple[bytes, ...], pause_s: float) -> None:
        for frame in frames:
            self._transport.write(frame)
            await asyncio.sleep(pause_s)


def _kind(path: str) -> str:
    for kind in ("/messages", "/responses"):
        if path.endswith(kind):
            return kind
    return "/chat/completions"


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


@functools.lru_cache
def _encode_reply(path: str, model: str) -> bytes:
    """Return a complete reply."""
    kind = _kind(path)
    if path.endswith("/models"):
        body: dict[str, object] = {"data": []}
    elif kind == "/messages":
        body = {
            "id": ID, "type": "message", "role": "assistant", "model": model,
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
            "model": model, "output": [item], "usage": _usage(kind),
        }  # fmt: skip
    else:
        message = {"role": "assistant", "content": TEXT, "refusal": None, "reasoning": None}
        choice = {
            "index": 0, "logprobs": None, "finish_reason": "stop",
            "native_finish_reason": "end_turn", "message": message,
        }  # fmt: skip
        body = {
            "id": ID, "object": "chat.completion", "created": 1780944465, "model": model,
            "provider": "Bench", "system_fingerprint": None, "service_tier": None,
            "choices": [choice], "usage": _usage(kind),
        }  # fmt: skip
    data = json.dumps(body).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{_HEADERS}"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


@functools.lru_cache
def _encode_stream(path: str, model: str) -> tuple[tuple[bytes, ...], float]:
    """Return the frames of a streamed reply, with head and last chunk, and the pause between."""
    match = _CHUNKS.search(model)
    count = int(match[2]) if match else 4
    pause_s = int(match[1] or 0) / 1000 if match else 0.0
    size = -(-len(TEXT) // count)
    texts = [TEXT[start : start + size] for start in range(0, len(TEXT), size)]
    texts += ["."] * (count - len(texts))
    events = {
        "/messages": _messages_events, "/responses": _responses_events,
    }.get(_kind(path), _chat_events)(model, texts)  # fmt: skip
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{_HEADERS}"
        "Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"
    ).encode()
    frames = [b"%x\r\n%b\r\n" % (len(one), one) for one in events]
    return (head + frames[0], *frames[1:], b"0\r\n\r\n"), pause_s


def _event(body: dict[str, object], name: str | None = None) -> bytes:
    prefix = f"event: {name}\n" if name else ""
    return f"{prefix}data: {json.dumps(body, separators=(',', ':'))}\n\n".encode()


def _chat_events(model: str, texts: list[str]) -> list[bytes]:
    def chunk(content: str, finish: str | None, **more: object) -> bytes:
        choice = {
            "index": 0, "delta": {"content": content, "role": "assistant"},
            "finish_reason": finish, "native_finish_reason": "end_turn" if finish else None,
        }  # fmt: skip
        return _event(
            {
                "id": ID, "object": "chat.completion.chunk", "created": 1780944465,
                "model": model, "provider": "Bench", "choices": [choice], **more,
            }
        )  # fmt: skip

    ending = [chunk("", "stop"), chunk("", "stop", usage=_usage("/chat/completions"))]
    return [*(chunk(one, None) for one in texts), *ending, b"data: [DONE]\n\n"]


def _messages_events(model: str, texts: list[str]) -> list[bytes]:
    message: dict[str, object] = {
        "id": ID, "type": "message", "role": "assistant", "model": model, "content": [],
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


def _responses_events(model: str, texts: list[str]) -> list[bytes]:
    response: dict[str, object] = {
        "id": ID, "object": "response", "created_at": 1, "model": model, "output": [],
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
