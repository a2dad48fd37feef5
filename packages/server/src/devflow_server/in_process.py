"""Answers requests of this program as the server answers them, without a socket."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, NoReturn

from devflow_claude_code import ClaudeCodeSession
from devflow_core.errors import InvalidRequest
from devflow_core.pipeline import Pipeline
from devflow_core.request import ChatRequest
from devflow_core.wire import Dialect
from devflow_gateway.wiring import AsyncGateway
from devflow_store import Store

from devflow_server.app import App
from devflow_server.auth import LOCAL_CALLER, Caller
from devflow_server.http import ClientDisconnected, Exchange, Request
from devflow_server.http.message import Header
from devflow_server.operations.metrics import Metrics
from devflow_server.operations.readiness import Readiness
from devflow_server.replies.idempotency import IdempotencyHandler
from devflow_server.replies.keep_alive import KeepAlive
from devflow_server.replies.reply_source import PipelineReplies
from devflow_server.replies.response_cache import ResponseCache
from devflow_server.replies.shared_calls import SharedCalls
from devflow_server.replies.signal import Signal
from devflow_server.requests.nodes import NodeTable
from devflow_server.routes import RequestContext, RouteTable
from devflow_server.url_map import Components, build_app

MAX_BUFFERED_BYTES = 256 * 1024
"""The unread bytes of a reply beyond which its handler waits for the reader."""
_KEY_HEADERS = frozenset({"authorization", "x-api-key"})
"""Headers that are dropped: SDKs cannot be made without a key, and none is needed here."""


class InProcessServer:
    """The server's routes for this program alone: no socket, no client key, no access log.

    Nothing is opened before the first request. All requests must come from one event loop.

    Args:
        gateway: carries the requests out; it must be entered before the first one, and left after
            `aclose`.
    """

    def __init__(self, gateway: AsyncGateway) -> None:
        self._gateway = gateway
        self._stack = AsyncExitStack()
        self._app: App | None = None
        self._opening = asyncio.Lock()

    async def open(
        self, method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes
    ) -> InProcessReply:
        """Return the reply to a request once its head is there; close it, read or not.

        Args:
            method: the HTTP method.
            target: the path and the query; folders before a path that the gateway has are ignored,
                since each SDK may be given another base URL.
            headers: the client's, of which `authorization` and `x-api-key` are dropped.
            body: the whole body.

        Raises:
            ConnectionError: the gateway has failed without an answer.
        """
        app = await self._open_app()
        path, _, query = target.partition("?")
        request = Request(
            method=method,
            path=_own_path(app.routes, path),
            query=query,
            headers=_join_headers(headers),
            body=body,
            peer="127.0.0.1",
            is_last=False,
            is_http_1_0=True,  # pieces need no framing
            arrived_s=time.monotonic(),
        )
        reply = InProcessReply()
        reply.task = asyncio.get_running_loop().create_task(_answer(app, reply, request))
        try:
            await reply.wait_for_head()
        except BaseException:
            reply.task.cancel("the client has gone")
            raise
        return reply

    async def aclose(self) -> None:
        """Cancel the requests under way; another request would open the server again."""
        self._app = None
        await self._stack.aclose()

    async def _open_app(self) -> App:
        if self._app is None:
            async with self._opening:
                if self._app is None:
                    self._app = await self._stack.enter_async_context(_open_app(self._gateway))
        return self._app


class InProcessReply:
    """A reply on its way to its reader in this process."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: Sequence[Header] = ()
        self.task: asyncio.Task[None] | None = None
        """Writes the reply."""
        self.is_full = False
        """Whether the reader is slower than the handler; see `ReplyWriter`."""
        self.is_draining = False
        self._pieces: deque[bytes] = deque()
        self._buffered_bytes = 0
        self._is_over = False
        self._is_whole = False
        self._written = Signal()
        self._read = Signal()

    async def wait_for_head(self) -> None:
        """Wait until status and headers are known.

        Raises:
            ConnectionError: the gateway has failed without an answer.
        """
        while not self.status:
            if self._is_over:
                raise ConnectionError("The gateway has given no answer.")
            await self._written.wait()

    async def read(self) -> bytes | None:
        """Return what has come since the last call, or wait for more; None at the end.

        Raises:
            ConnectionError: the reply broke off.
        """
        while not self._pieces:
            if self._is_over:
                if not self._is_whole:
                    raise ConnectionError("The gateway has broken the reply off.")
                return None
            await self._written.wait()
        found = b"".join(self._pieces)
        self._pieces.clear()
        self._buffered_bytes, self.is_full = 0, False
        self._read.notify()
        return found

    async def aclose(self) -> None:
        """Leave the reply: a call under way is cancelled, and booked before this returns."""
        if self.task is not None and not self.task.done():
            self.task.cancel("the client has gone")
            await asyncio.wait([self.task])

    # for the exchange

    def begin(self, status: int, headers: Sequence[Header]) -> None:
        """Hand the head to the reader."""
        self.status, self.headers = status, headers
        self._written.notify()

    def end(self, *, is_whole: bool) -> None:
        """Mark the end; unless `is_whole`, the reader gets an error after what has come."""
        self._is_over, self._is_whole = True, is_whole
        self._written.notify()

    @property
    def now_s(self) -> float:
        """The monotonic clock."""
        return time.monotonic()

    def hold(self, request: Request, owner: str, /) -> bool:
        """Return True: the bodies are in this program's own memory, which has no limit here."""
        return True

    def give_back(self, request: Request, /) -> None:
        """Do nothing: bodies are not counted here."""

    def send(self, piece: bytes, /) -> None:
        """Hand a piece to the reader."""
        self._pieces.append(piece)
        self._buffered_bytes += len(piece)
        self.is_full = self._buffered_bytes > MAX_BUFFERED_BYTES
        self._written.notify()

    async def wait_until_drained(self) -> None:
        """Wait until the reader has taken what lies ready."""
        while self.is_full:
            await self._read.wait()


class _InProcessExchange(Exchange):
    """An exchange whose reply stays a status, headers and pieces, since nobody parses it."""

    def __init__(self, reply: InProcessReply, request: Request) -> None:
        super().__init__(reply, request)
        self._reply = reply

    def respond(self, status: int, body: bytes, headers: Sequence[Header] = ()) -> None:
        self._begin_reply(status)
        self._reply.begin(status, [*headers, ("content-length", str(len(body)))])
        self.write_now(b"" if self.request.method == "HEAD" else body)
        self.finish()

    def start(self, status: int, headers: Sequence[Header] = ()) -> None:
        self._begin_reply(status)
        self._reply.begin(status, headers)


async def _answer(app: App, reply: InProcessReply, request: Request) -> None:
    exchange = _InProcessExchange(reply, request)
    try:
        await app(exchange)
    except ClientDisconnected:
        pass
    finally:
        reply.end(is_whole=exchange.is_finished)


def _join_headers(headers: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for name, value in headers:
        lower = name.lower()
        if lower not in _KEY_HEADERS:
            found[lower] = f"{found[lower]}, {value}" if lower in found else value
    return found


def _own_path(routes: RouteTable, path: str) -> str:
    """Return the gateway's path in a path below any base URL; an unknown path stays as it is."""
    tail = path
    while tail:
        for candidate in (tail, f"/v1{tail}"):
            if routes.allowed_methods(candidate):
                return candidate
        _, slash, rest = tail.removeprefix("/").partition("/")
        tail = slash + rest
    return path


class _ThisProgram:
    """Takes every request for one of the user of this machine: nobody else can send one."""

    def check_origin(self, request: Request, /) -> None:
        """Accept every address: no browser can send such a request."""

    def recognize(self, request: Request, /) -> Caller | None:
        return LOCAL_CALLER

    async def look_up(self, request: Request, /, *, takes_former: bool = False) -> Caller:
        return LOCAL_CALLER


class _MemoryNodes:
    """Keeps changes of nodes as long as the process, beside a ledger in memory."""

    def __init__(self) -> None:
        self._nodes: dict[str, Mapping[str, Any]] = {}

    async def all(self) -> Mapping[str, Mapping[str, Any]]:
        return self._nodes

    async def set(self, task_name: str, config: Mapping[str, Any], /) -> None:
        self._nodes[task_name] = config


class _NoIdempotency(IdempotencyHandler):
    """Refuses idempotency keys: a ledger in memory cannot keep what they promise."""

    def __init__(self) -> None:  # it owns nothing that its base class sets up
        pass

    async def __aexit__(self, *_exc: object) -> None:
        """Do nothing: no call was ever started."""

    async def open(
        self, context: RequestContext, request: ChatRequest, dialect: Dialect, key: str
    ) -> NoReturn:
        raise InvalidRequest(
            "Idempotency-Key: this gateway keeps its ledger in memory. Leave the key out, or open"
            " the gateway with a durable ledger."
        )


@asynccontextmanager
async def _open_app(gateway: AsyncGateway) -> AsyncGenerator[App]:
    """Open the application over a gateway; what is its own ends with the block."""
    settings, pipeline, metrics = gateway.settings, gateway.pipeline, Metrics()
    book = pipeline.book
    store = book if isinstance(book, Store) else None
    async with SharedCalls(pipeline) as calls, _make_idempotency(store, pipeline) as idempotency:
        nodes = NodeTable(_MemoryNodes() if store is None else store.nodes, settings.nodes)
        await nodes.refresh()
        cache = ResponseCache(ttl_s=settings.cache_ttl_s) if settings.cache else None
        yield build_app(
            Components(
                settings=settings,
                reply_source=PipelineReplies(
                    pipeline, calls=calls, cache=cache, book=book, ledger=metrics
                ),
                idempotency=idempotency,
                embeddings=gateway.embeddings,
                find_session=partial(ClaudeCodeSession.find, config_dir=settings.claude_dir),
                callers=_ThisProgram(),
                nodes=nodes,
                catalogue=gateway.catalogue,
                has_server_key=lambda: bool(settings.server_keys()),
                metrics=metrics,
                keep_alive=KeepAlive(),  # no pings: silence is for the client's own time-out
                problem=(lambda: None) if store is None else Readiness(store.health).problem,
                logs_requests=False,
            )
        )


def _make_idempotency(store: Store | None, pipeline: Pipeline) -> IdempotencyHandler:
    if store is None:
        return _NoIdempotency()
    return IdempotencyHandler(store.idempotency, pipeline)
