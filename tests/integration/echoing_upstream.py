"""A provider that repeats the key of a call in any field that a test chooses."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, cast

Json = dict[str, Any]
Say = Callable[[str], str]
"""Returns the text to repeat, given the key of a call."""

USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7, "cost": 0.00001}


class EchoingUpstream(ThreadingHTTPServer):
    """Answers all dialects and embeddings; `error`, `say` and `place` choose with what."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.say: Say = lambda _key: "plain"
        self.place = ""
        """The field of the reply, or of the error, that repeats the key."""
        self.reply_text = "A short answer."
        self.keys: list[str] = []
        """The keys of all calls so far."""
        self.traces: list[bytes] = []
        """The bodies exported to `/v1/traces`."""

    @property
    def base_url(self) -> str:
        """The address to point a gateway at."""
        return f"http://127.0.0.1:{self.server_address[1]}/api/v1"

    @contextmanager
    def serve(self) -> Generator[EchoingUpstream]:
        """Serve until the block ends."""
        thread = Thread(target=self.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            self.server_close()
            thread.join(60)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave together

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""

    def do_GET(self) -> None:
        """Answer 404 to requests for the catalogue and the account."""
        self._send(404, b'{"error":{"code":404,"message":"no"}}')

    def do_POST(self) -> None:
        """Answer a call."""
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        upstream = cast("EchoingUpstream", self.server)
        if self.path == "/v1/traces":
            upstream.traces.append(body)
            self._send(200, b"", "application/x-protobuf")
            return
        key = self.headers.get("authorization", "").removeprefix("Bearer ")
        upstream.keys.append(key)
        said, place = upstream.say(key), upstream.place
        kind, _, field = place.partition(" ")
        if kind == "error":
            self._send_error_reply(field, said)
            return
        fields = {"id": "gen-1", "model": "z-ai/glm-5", "provider": "Acme"}
        if kind == "reply":
            fields[field] = said
        if self.path.endswith("/embeddings"):
            data = [{"object": "embedding", "index": 0, "embedding": [0.5]}]
            self._send_json({**fields, "object": "list", "data": data, "usage": USAGE})
            return
        make = _STREAMS[self.path.rpartition("/")[2]]
        events = make(fields, upstream.reply_text)
        if kind == "broken":
            del events[-2:]
            events.append({"type": "error", "error": {"code": 400, **_error(field, said)}})
        stream = b"".join(_frame(one) for one in events)
        headers = {"x-generation-id": said} if kind == "header" else {}
        self._send(200, stream, "text/event-stream", headers)

    def _send_error_reply(self, field: str, said: str) -> None:
        headers = {"x-generation-id": said} if field == "header" else {}
        if field == "text":
            self._send(400, f"Wrong: {said}".encode(), "text/plain")
        elif field == "page":
            self._send(400, f"<html><h1>Wrong</h1>{said}</html>".encode(), "text/html")
        elif field == "no stream":
            self._send(200, f"Welcome {said}".encode(), "text/plain")
        else:
            body = {"error": {"code": 400, **_error(field, said)}, "id": "gen-2"}
            if field == "id":
                body["id"] = said
            self._send(400, json.dumps(body).encode(), "application/json", headers)

    def _send_json(self, body: Json) -> None:
        self._send(200, json.dumps(body).encode())

    def _send(
        self,
        status: int,
        body: bytes,
        content_type: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value.encode("ascii", "replace").decode())
        self.end_headers()
        self.wfile.write(body)


def _error(field: str, said: str) -> Json:
    """Return an `error` object whose chosen field repeats the key."""
    plain: Json = {"message": "It is wrong.", "metadata": {"provider_name": "Acme"}}
    match field:
        case "message":
            return {**plain, "message": f"{'Not so good. ' * 14} wrong key: {said} given"}
        case "raw":
            return {"message": "Provider returned error", "metadata": {"raw": f"bad {said}"}}
        case "provider_name" | "error_type" | "limit_source":
            return {**plain, "metadata": {field: f"P{said}"}}
        case "code" | "type":
            return {**plain, field: f"t_{said}"}
        case "availability":
            return {**plain, "availability": {"code": said}}
        case _:
            return plain


def _frame(event: Json | str) -> bytes:
    if isinstance(event, str):
        return f"data: {event}\n\n".encode()
    head = f"event: {event['type']}\n" if "type" in event else ""
    return f"{head}data: {json.dumps(event)}\n\n".encode()


def _chat(fields: Json, text: str) -> list[Any]:
    def chunk(delta: Json, reason: str | None = None, **more: Any) -> Json:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return {**fields, "object": "chat.completion.chunk", "choices": [choice], **more}

    return [
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": text}),
        chunk({"content": ""}, "stop"),
        chunk({"content": ""}, "stop", usage=USAGE),
        "[DONE]",
    ]


def _messages(fields: Json, text: str) -> list[Any]:
    usage = {"input_tokens": 5, "output_tokens": 2, "cost": 0.00001}
    message: Json = {
        **fields,
        "type": "message",
        "role": "assistant",
        "content": [],
        "usage": usage,
    }
    return [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": text},
        },
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage},
        {"type": "message_stop"},
    ]


def _responses(fields: Json, text: str) -> list[Any]:
    usage = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7, "cost": 0.00001}
    content: list[Json] = [{"type": "output_text", "text": text, "annotations": []}]
    item = {"id": "m", "type": "message", "role": "assistant", "status": "completed"}
    whole = {**fields, "object": "response", "status": "completed", "usage": usage}
    return [
        {"type": "response.created", "response": {**fields, "status": "in_progress", "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}},
        {
            "type": "response.output_text.delta",
            "item_id": "m",
            "output_index": 0,
            "content_index": 0,
            "delta": text,
        },
        {
            "type": "response.output_item.done",
            "output_index": 0,
            "item": {**item, "content": content},
        },
        {
            "type": "response.completed",
            "response": {**whole, "output": [{**item, "content": content}]},
        },
    ]


_STREAMS: dict[str, Callable[[Json, str], list[Any]]] = {
    "completions": _chat,
    "messages": _messages,
    "responses": _responses,
}
