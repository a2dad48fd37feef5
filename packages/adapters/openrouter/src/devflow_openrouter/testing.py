"""Provides a scripted upstream on a real socket, which tests control byte by byte.

It serves for what only a socket can show: resets, cuts, stalls, broken framing. Use the sandbox of
`devflow-gateway-sandbox` to test prices, models and limits.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import traceback
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import orjson
import structlog.testing
from devflow_core.errors import DevFlowError
from devflow_core.ledger import Attempt, LedgerEntry
from devflow_core.memory import MemoryBook
from devflow_core.pipeline import Completion
from devflow_core.request import ChatRequest
from devflow_core.settings import Settings
from devflow_core.testing import FixedClassifier, FixedRouter, a_candidate, a_request

from devflow_openrouter.gateway import OpenRouterGateway

CANARY = "sk-or-v1-canary0000000000000000000000000000000000000000000000000000canary"
"""A key used in every fault test, which must not appear in anything that is written."""

UpstreamStep = bytes | float | Literal["close", "reset"]
"""Bytes to send, seconds to wait, or how the connection ends."""

SSE_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    b"X-Generation-Id: gen-1780944465-header\r\nTransfer-Encoding: chunked\r\n\r\n"
)
"""The head of a streamed reply."""
USAGE: Mapping[str, object] = {
    "prompt_tokens": 14,
    "completion_tokens": 10,
    "total_tokens": 24,
    "cost": 0.000064,
    "is_byok": False,
    "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0},
}
"""The usage of a reply recorded on 2026-06-08."""


class ScriptedUpstream:
    """An upstream that runs one script per request; the last script serves all further requests."""

    def __init__(self) -> None:
        self.port = 0
        """The port while it is served; 0 before."""
        self.requests: list[bytes] = []
        """Head and body of each request, in order."""
        self.accepted_connections = 0
        """The number of connections accepted so far."""
        self.open_connections = 0
        """The number of connections that have not ended."""
        self.request_received = asyncio.Event()
        """Set when the first request has come."""
        self.client_disconnected = asyncio.Event()
        """Set when a client has left before its request or its script was over."""
        self._scripts: list[tuple[UpstreamStep, ...]] = []
        self._open_writers: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def base_url(self) -> str:
        """The base URL for clients, while it is served."""
        return f"http://127.0.0.1:{self.port}/api/v1"

    def add_script(self, *steps: UpstreamStep) -> ScriptedUpstream:
        """Append the script for the next request that has none; return this upstream."""
        self._scripts.append(steps)
        return self

    @asynccontextmanager
    async def serve(self, tls: ssl.SSLContext | None = None) -> AsyncGenerator[ScriptedUpstream]:
        """Serve on a free loopback port until the block is left; connections are then cut."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for writer in self._open_writers.values():
                writer.transport.abort()
            if self._open_writers:
                await asyncio.wait(self._open_writers, timeout=1)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted_connections += 1
        self.open_connections += 1
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - start_server makes one for each connection
        self._open_writers[task] = writer
        try:
            while await self._read_request(reader):
                if not await self._run_script(reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            self.client_disconnected.set()
        finally:
            self.open_connections -= 1
            del self._open_writers[task]
            writer.close()

    async def _read_request(self, reader: asyncio.StreamReader) -> bool:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        self.requests.append(head + await reader.readexactly(int(length[1]) if length else 0))
        self.request_received.set()
        return True

    async def _run_script(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Run one script; return False if it ended the connection."""
        for step in self._scripts[min(len(self.requests), len(self._scripts)) - 1]:
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
            elif isinstance(step, float):
                await self._pause(reader, step)
            else:
                if step == "reset":
                    writer.transport.abort()
                return False
        return True

    async def _pause(self, reader: asyncio.StreamReader, seconds: float) -> None:
        """Wait, and raise if the client leaves meanwhile."""
        try:
            async with asyncio.timeout(seconds):
                if await reader.read(1) == b"":
                    raise ConnectionResetError
        except TimeoutError:
            return


def http_reply(
    body: bytes,
    status: int = 200,
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """Return a whole reply with a content-length, as bytes to send."""
    extra = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\n{extra}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def chunked_body(*pieces: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    """Return a chunked body with one chunk per piece."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + end


def sse_event(**fields: object) -> bytes:
    """Return one chunk of a chat completion as a server-sent event."""
    chunk = {
        "id": "gen-1780944465-body",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "acme/one",
        "provider": "Acme",
        **fields,
    }
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


def text_event(content: str, finish_reason: str | None = None) -> bytes:
    """Return an event with a delta of text."""
    delta = {"role": "assistant", "content": content}
    return sse_event(choices=[{"index": 0, "delta": delta, "finish_reason": finish_reason}])


def final_events(usage: Mapping[str, object] | None = None) -> bytes:
    """Return the usage chunk, with its choice that repeats the finish reason, and `[DONE]`."""
    choice = {"index": 0, "delta": {"content": ""}, "finish_reason": "stop"}
    return sse_event(choices=[choice], usage=usage or USAGE) + b"data: [DONE]\n\n"


def streamed_reply(*texts: str) -> bytes:
    """Return a whole streamed reply with these pieces of text; without any, with `Hel` and `lo`."""
    events = [text_event(one) for one in texts or ("Hel", "lo")]
    return SSE_HEAD + chunked_body(*events, text_event("", "stop"), final_events())


def error_body(code: int | str, message: str = "no", **metadata: object) -> bytes:
    """Return the body of an error as OpenRouter sends it."""
    return orjson.dumps({"error": {"code": code, "message": message, "metadata": metadata}})


def error_reply(
    status: int, message: str = "no", headers: Mapping[str, str] | None = None, **metadata: object
) -> bytes:
    """Return a whole reply with an error."""
    return http_reply(error_body(status, message, **metadata), status, headers=headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOutcome:
    """The result of one request: its reply or its error, and its ledger entry."""

    completion: Completion | None
    """The reply; None if the request failed."""
    error: DevFlowError | None
    """The error; None if the request succeeded."""
    entry: LedgerEntry

    @property
    def text(self) -> str | None:
        """The text of the reply; None if the request failed."""
        return self.completion.text if self.completion else None

    @property
    def attempt(self) -> Attempt:
        """The last attempt; there has to be one."""
        return self.entry.attempts[-1]

    @property
    def codes(self) -> list[str | None]:
        """The error codes of the attempts, in order; None for the one that answered."""
        return [attempt.error_code for attempt in self.entry.attempts]


class GatewayHarness:
    """Sends requests through the whole stack, and checks the invariants after each.

    Every attempt has exactly one end; nothing stays reserved; the amount spent is the sum of the
    entries; an attempt is free if and only if it is void; no task of the gateway is left; the key
    appears in no entry, log or error.

    Args:
        upstream: the upstream that requests are sent to.
    """

    def __init__(self, upstream: ScriptedUpstream) -> None:
        self.upstream = upstream
        self.book = MemoryBook()
        """The book of all requests sent."""

    def build_gateway(self, *models: str, **settings: Any) -> OpenRouterGateway:
        """Return a gateway that routes to these models, with the canary as its key.

        The caller enters it with `async with`.

        Args:
            models: `acme/one` if none are given.
            settings: fields of `Settings`; they override the harness's own.
        """
        values = {"base_url": self.upstream.base_url, "api_key": CANARY, **settings}
        return OpenRouterGateway(
            Settings.model_validate(values),
            router=FixedRouter(*(a_candidate(model) for model in models or ("acme/one",))),
            classifier=FixedClassifier(),
            book=self.book,
        )

    async def __call__(
        self, *models: str, request: ChatRequest | None = None, **settings: Any
    ) -> RequestOutcome:
        """Ask once through a new gateway, and check the invariants.

        Args:
            models: the route; `acme/one` if none is given.
            request: what is asked; None: any text.
            settings: further settings of the gateway.

        Raises:
            AssertionError: an invariant is broken.
        """
        completion: Completion | None = None
        error: DevFlowError | None = None
        before = asyncio.all_tasks()
        with structlog.testing.capture_logs() as logs:
            async with self.build_gateway(*models, **settings) as gateway:
                try:
                    completion = await gateway.complete(request or a_request())
                except DevFlowError as caught:
                    error = caught
        left = [task for task in asyncio.all_tasks() - before if "_serve" not in repr(task)]
        assert left == [], left  # noqa: S101 - this is a test's judgement
        entry = self.book.ledger.entries[-1]
        self.check_invariants(entry, f"{logs!r}{_describe_causes(error)}")
        return RequestOutcome(completion=completion, error=error, entry=entry)

    def check_invariants(self, entry: LedgerEntry, written: str = "") -> None:
        """Check the invariants of an entry, and of the whole book.

        Args:
            entry: the entry to check.
            written: all that was written elsewhere, in which the key must not appear.

        Raises:
            AssertionError: an invariant is broken.
        """
        ids = [attempt.attempt_id for attempt in entry.attempts]
        booked = sum((one.cost_usd for one in self.book.ledger.entries), start=0 * entry.cost_usd)
        rules = {
            "one end for each attempt": len(ids) == len(set(ids)),
            "nothing is left open or reserved": self.book.open_attempts == (),
            "the balance is the sum of the entries": self.book.spent_usd == booked,
            "void is zero, and only void is": all(
                (one.cost_usd == 0) == (one.cost_status == "void") for one in entry.attempts
            ),
            "the key is nowhere": "canary" not in f"{self.book.ledger.entries!r}{written}",
        }
        broken = [rule for rule, holds in rules.items() if not holds]
        if broken:
            raise AssertionError(f"{broken}: {entry!r}")


def _describe_causes(error: BaseException | None) -> str:
    """Return everything that a log or a debugger could show of an error and its causes."""
    lines: list[str] = []
    while error is not None:
        lines += [repr(error), str(vars(error)), *traceback.format_exception(error)]
        error = error.__cause__ or error.__context__
    return "\n".join(lines)
