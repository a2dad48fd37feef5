"""Plays one case of the fault plan: sandbox with the fault, gateway, client, books.

Every play has a sandbox, a data folder and a gateway of its own, so that many run at once.
"""

from __future__ import annotations

import asyncio
import io
import os
import ssl
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import httpx
import orjson
from devflow_core import log
from devflow_core.errors import DevFlowError
from devflow_core.events import Finished, TextDelta, ToolCallDelta
from devflow_core.ledger import LedgerEntry
from devflow_core.messages import WireName
from devflow_core.settings import Settings
from devflow_core.wire import get_dialect
from devflow_gateway import wiring
from devflow_openrouter.models.catalogue import CATALOGUE_FILE
from devflow_routing import Catalogue, Router, TaskClassifier
from devflow_sandbox import FaultCase, Sandbox
from devflow_sandbox.app import SandboxApp
from devflow_sandbox.faults.addresses import AUTHORITY
from devflow_sandbox.faults.schema import Fault
from devflow_sandbox.message import SandboxRequest
from devflow_server.serving import run_gateway
from fault_replies import ReadReply, parse_arguments, read_stream, read_whole

T = TypeVar("T")
MODEL, FALLBACK = "openai/gpt-5-mini", "anthropic/claude-haiku-4.5"
PATHS: dict[WireName, str] = {
    "openai_chat": "/v1/chat/completions",
    "anthropic_messages": "/v1/messages",
    "openai_responses": "/v1/responses",
}
OURS: dict[str, WireName] = {
    "chat": "openai_chat",
    "messages": "anthropic_messages",
    "responses": "openai_responses",
}
SEED = 7
"""Gives all sandboxes the same key."""
LEAVE_AFTER_S = 0.8
"""How long after its request reached the sandbox a leaving client stays."""
PATIENCE_S = 90.0
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""A shared TLS context: loading the authorities takes longer than a play, and none of the clients
here uses TLS."""
SHORT: dict[str, Any] = {
    "timeout_ms": 20_000,
    "first_token_timeout_s": 4.0,
    "idle_timeout_s": 4.0,
    "total_timeout_s": 20.0,
    "retry_wait_factor": 0.02,
    "cost_budget_usd": Decimal(50),
    "require_key": False,
    "cache": False,
    "port": 0,
}
"""Deadlines short enough that a case takes seconds; everything else as shipped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """A case, with the way in which its request is sent."""

    case: FaultCase
    dialect: WireName
    is_stream: bool
    door: str
    """`server` for HTTP, or `library`."""
    has_fallback: bool = False
    """Whether a second model is available, and only the first one fails."""

    @property
    def name(self) -> str:
        """The name for tables and messages."""
        mode = "stream" if self.is_stream else "whole"
        return f"{self.case.id}, {self.dialect}, {mode}, {self.door}"

    def body(self) -> dict[str, Any]:
        """Return the request's body."""
        body: dict[str, Any] = {"model": MODEL, "stream": self.is_stream}
        question = "Why does the test fail?"
        if self.dialect == "openai_responses":
            body |= {"input": question, "max_output_tokens": 2000}
        else:
            messages = [{"role": "user", "content": question}]
            body |= {"messages": messages, "max_tokens": 2000}
        if self.case.turns:
            names = [one.name for one in self.case.turns[0].reply.tool_calls]
            body["tools"] = [{"type": "function", "function": {"name": one}} for one in names]
        return body


@dataclass(slots=True, kw_only=True)
class Observation:
    """The outcome of a play."""

    play: Play
    reply: ReadReply = field(default_factory=ReadReply)
    status: int | None = None
    """The status that the client got; in the library, the one that the error stands for."""
    code: str | None = None
    """The error code in the ledger."""
    outcome: str = ""
    attempts: int = 0
    calls: int = 0
    """How many calls reached the sandbox."""
    models: tuple[str, ...] = ()
    cost_statuses: tuple[str, ...] = ()
    booked_usd: Decimal = Decimal(0)
    """The cost booked when the request ended."""
    confirmed_usd: Decimal = Decimal(0)
    """The cost after look-ups."""
    billed_usd: Decimal = Decimal(0)
    true_text: str | None = None
    """The text of the last call's model."""
    true_calls: list[tuple[str, object]] = field(default_factory=list[tuple[str, object]])
    broken: list[str] = field(default_factory=list[str])
    """The invariants that were violated."""
    wall_s: float = 0.0


async def run(play: Play) -> Observation:
    """Play one case, from an empty folder to the closed books."""
    seen = Observation(play=play)
    with tempfile.TemporaryDirectory(prefix="devflow-fault-") as folder:
        async with Sandbox(seed=SEED, generation_delay_s=0, faults=_scripted(play)) as sandbox:
            settings = _settings(play, sandbox, Path(folder))
            started_s = time.perf_counter()
            body = await _DOORS[play.door](sandbox, settings, seen)
            seen.wall_s = time.perf_counter() - started_s
            await _until_settled(sandbox)
            _read_bill(sandbox, seen)
            _read_books(settings, seen)
            await _confirm(settings, seen)
            _look_for_key(Path(folder), body, sandbox.api_key, seen)
    seen.outcome = "left" if play.case.client_leaves else seen.reply.outcome
    return seen


def _scripted(play: Play) -> FaultCase:
    """Return the case's faults, limited to the first model if a fallback is available.

    The list of models is a short one, since every gateway reads it when it starts.
    """
    rules = list(play.case.faults)
    if play.has_fallback:
        rules = [
            one.model_copy(update={"when": one.when.model_copy(update={"model": MODEL})})
            for one in rules
        ]
    text = _short_list()["text"]
    listed = Fault.model_validate(
        {
            "when": {"path": "/models", "method": "GET"},
            "then": {"kind": "body", "text": text},
        }
    )
    return play.case.model_copy(update={"faults": (*rules, listed)})


@cache
def _short_list() -> dict[str, str]:
    """Return a list of the two models, and the file in which a gateway caches it."""
    listing = SandboxRequest(method="GET", path="/api/v1/models")
    steps = SandboxApp(Sandbox().state).answer(listing).steps
    body = orjson.loads(b"".join(one for one in steps if isinstance(one, bytes)))
    rows = [row for row in body["data"] if row["id"] in (MODEL, FALLBACK)]
    kept = {"fetched_at": datetime.now(UTC).isoformat(), "body": {"data": rows}}
    return {"text": orjson.dumps({"data": rows}).decode(), "file": orjson.dumps(kept).decode()}


def _settings(play: Play, sandbox: Sandbox, folder: Path) -> Settings:
    given: dict[str, Any] = {
        **SHORT,
        "base_url": sandbox.base_url,
        "api_key": sandbox.api_key,
        "data_dir": folder,
    }
    (folder / CATALOGUE_FILE).write_text(_short_list()["file"])
    if play.has_fallback:
        given["fallbacks"] = {MODEL: (FALLBACK,)}
    return Settings.load({}, **given)


async def _ask_server(sandbox: Sandbox, settings: Settings, seen: Observation) -> bytes:
    play = seen.play
    async with (
        run_gateway(settings) as running,
        httpx.AsyncClient(
            base_url=running.url, timeout=PATIENCE_S, trust_env=False, verify=_NO_TLS
        ) as client,
    ):
        for _ in range(play.case.warm_up):
            await client.post(PATHS[play.dialect], json=play.body())
        asking = client.post(PATHS[play.dialect], json=play.body())
        reply = await _leave_or_wait(asking, play, sandbox)
        if reply is None:
            return b""
        is_stream = reply.headers["content-type"].startswith("text/event-stream")
        read = read_stream if is_stream else read_whole
        seen.reply = read(play.dialect, reply.content)
        # an error event that follows a sign of life has no status of its own
        seen.status = None if reply.status_code == 200 else reply.status_code
        if seen.status is not None and seen.reply.error is None:
            seen.broken.append(f"{seen.status} without an error")
        return reply.content


async def _ask_library(sandbox: Sandbox, settings: Settings, seen: Observation) -> bytes:
    play = seen.play
    request = get_dialect(play.dialect).decode_request(play.body(), {})
    async with wiring.open_gateway(settings) as gateway:
        for _ in range(play.case.warm_up):
            await gateway.complete(request)
        try:
            if play.is_stream:
                await _leave_or_wait(_read_events(gateway, request, seen.reply), play, sandbox)
            else:
                done = await _leave_or_wait(gateway.complete(request), play, sandbox)
                if done is not None:
                    calls = [(one.name, parse_arguments(one.arguments)) for one in done.tool_calls]
                    seen.reply = ReadReply(done.text, calls, bool(calls), True)
        except DevFlowError as error:
            seen.reply.error, seen.status = repr(error), error.status_hint
            return str(error).encode()
    return b""


async def _read_events(gateway: wiring.AsyncGateway, request: Any, reply: ReadReply) -> None:
    async with gateway.stream(request) as events:
        async for event in events:
            match event:
                case TextDelta():
                    reply.text += event.text
                case ToolCallDelta():
                    reply.has_tools = True
                case Finished():
                    reply.is_complete = True
                case _:
                    pass


async def _leave_or_wait(asking: Coroutine[Any, Any, T], play: Play, sandbox: Sandbox) -> T | None:
    """Return the reply; None if the client left before it."""
    if not play.case.client_leaves:
        return await asyncio.wait_for(asking, PATIENCE_S)
    task = asyncio.create_task(asking)
    async with asyncio.timeout(PATIENCE_S):
        while not sandbox.bill()["running"]:  # noqa: ASYNC110 - it has no event to wait for
            await asyncio.sleep(0.01)
    await asyncio.wait([task], timeout=LEAVE_AFTER_S)
    task.cancel()
    with suppress(asyncio.CancelledError):
        return await task
    return None


Door = Callable[[Sandbox, Settings, Observation], Awaitable[bytes]]
_DOORS: dict[str, Door] = {"server": _ask_server, "library": _ask_library}


async def _until_settled(sandbox: Sandbox) -> None:
    """Wait until the sandbox has noticed the end of all connections."""
    async with asyncio.timeout(PATIENCE_S):
        while sandbox.bill()["running"]:  # noqa: ASYNC110 - it has no event to wait for
            await asyncio.sleep(0.01)


def _read_bill(sandbox: Sandbox, seen: Observation) -> None:
    calls = sandbox.state.billing.calls[seen.play.case.warm_up :]
    seen.calls = len(calls)
    seen.billed_usd = sum((one.cost_usd for one in calls), Decimal(0))
    last = calls[-1].generation if calls else None
    if last is not None:
        seen.true_text = last.reply.text
        seen.true_calls = [(one.name, orjson.loads(one.arguments)) for one in last.reply.calls]


def _read_books(settings: Settings, seen: Observation) -> None:
    """Read the last request's entry, and check the invariants of the books."""
    store = wiring.make_store(settings)
    entries = list(store.entries())
    if len(entries) != seen.play.case.warm_up + 1:
        seen.broken.append(f"{len(entries)} entries")
    if not entries:
        return
    entry = max(entries, key=lambda one: one.started_at)
    seen.code = entry.error_code
    seen.attempts = len(entry.attempts)
    seen.models = tuple(one.model for one in entry.attempts)
    seen.cost_statuses = tuple(one.cost_status for one in entry.attempts)
    seen.booked_usd = _cost_of(entry)
    seen.broken += _broken_rows(entry, seen)
    seen.broken += _broken_balance(store, entries)


def _cost_of(entry: LedgerEntry) -> Decimal:
    return sum((one.cost_usd for one in entry.attempts), Decimal(0))


def _broken_rows(entry: LedgerEntry, seen: Observation) -> Iterator[str]:
    if [one.number for one in entry.attempts] != list(range(1, seen.attempts + 1)):
        yield "attempts are not numbered one after the other"
    if len({one.attempt_id for one in entry.attempts}) != seen.attempts:
        yield "an attempt stands there twice"
    if seen.calls > seen.attempts:
        yield f"{seen.calls} calls, but {seen.attempts} attempts are booked"
    for one in entry.attempts:
        reserved_usd = one.reserved_usd
        if reserved_usd is not None and not 0 <= one.cost_usd <= reserved_usd:
            yield f"{one.cost_usd} booked, {reserved_usd} reserved"


def _broken_balance(store: Any, entries: list[LedgerEntry]) -> Iterator[str]:
    (budget,) = store.budget_states()
    booked_usd = sum(map(_cost_of, entries), Decimal(0))
    if budget.spent_usd != booked_usd:
        yield f"the balance is {budget.spent_usd}, the entries make {booked_usd}"
    if budget.reserved_usd:
        yield f"{budget.reserved_usd} is still reserved"
    checked = store.verify()
    if not checked.ok:
        yield f"the chain is broken: {checked.reason}"


async def _confirm(settings: Settings, seen: Observation) -> None:
    """Look costs up as the server does after a while; a wrong address yields none."""
    with suppress(DevFlowError):
        # the router is not asked, and making one is half of a play's work
        async with (
            wiring.make_store(settings) as book,
            wiring.AsyncGateway(settings, book=book, **_unused_parts()) as gateway,
        ):
            await wiring.make_reconciler(book, gateway).confirm_pending()
    entries = list(wiring.make_store(settings).entries())
    if entries:
        seen.confirmed_usd = _cost_of(max(entries, key=lambda one: one.started_at))


@cache
def _unused_parts() -> dict[str, Any]:
    return {
        "router": Router(Catalogue([], version="", fetched_at=datetime.now(UTC))),
        "classifier": TaskClassifier(),
    }


def _look_for_key(folder: Path, body: bytes, key: str, seen: Observation) -> None:
    places = {str(file.name): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    for name, content in {**places, "the reply": body}.items():
        if key.encode() in content:
            seen.broken.append(f"the key stands in {name}")


@contextmanager
def trusting_the_plans_authority() -> Generator[None]:
    """Trust the plan's certificate authority, so that a certificate has only its case's fault."""
    former = os.environ.get("SSL_CERT_FILE")
    os.environ["SSL_CERT_FILE"] = str(AUTHORITY)
    try:
        yield
    finally:
        if former is None:
            del os.environ["SSL_CERT_FILE"]
        else:
            os.environ["SSL_CERT_FILE"] = former


async def run_many(plays: list[Play], at_once: int) -> list[Observation]:
    """Play several plays, `at_once` at a time; results are in the order of the plays."""
    free = asyncio.Semaphore(at_once)

    async def one(play: Play) -> Observation:
        async with free:
            try:
                return await run(play)
            except Exception as error:  # noqa: BLE001 - the run goes on, and says what happened
                return Observation(play=play, outcome="crashed", broken=[repr(error)])

    written = io.StringIO()
    log.configure("info", "json", written)
    with trusting_the_plans_authority():
        seen = list(await asyncio.gather(*(one(play) for play in plays)))
    if Sandbox(seed=SEED).api_key in written.getvalue():
        seen[-1].broken.append("a key stands in the log of one of these plays")
    return seen
