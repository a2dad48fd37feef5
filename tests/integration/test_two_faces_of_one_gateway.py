"""`Gateway` has the names, the arguments and the behaviour of `AsyncGateway`."""

from __future__ import annotations

import inspect
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, get_args, get_type_hints

import anyio
import pytest
from devflow_core.pipeline import Reply
from devflow_gateway import (
    AsyncGateway,
    ChatRequest,
    ConfigurationError,
    Conflict,
    DevFlowError,
    Finished,
    Gateway,
    InvalidRequest,
    KeyReused,
    LedgerEntry,
    PossiblyAccepted,
    Settings,
    StreamedReply,
    TextDelta,
)
from devflow_openrouter import OpenRouterGateway
from devflow_sandbox.threaded import ThreadedSandbox
from devflow_store import make_store

MODEL, EMBEDDER = "anthropic/claude-haiku-4.5", "openai/text-embedding-3-small"
ASKED = ChatRequest.from_text("Why does test_login fail?", model=MODEL)
WITHOUT_A_LOOP_USELESS = {
    "keep_catalogue_fresh", "keep_evidence_fresh", "follow_learned", "learn_price", "pipeline",
    "embeddings", "as_httpx_client", "with_book",
}  # fmt: skip
"""What belongs to programs with an event loop; `Gateway` does without."""
CALLS = ("complete", "stream", "explain", "embed")
COMMON = {"criteria", "session", "max_cost_usd", "project", "tags", "idempotency_key"}
STALL: Any = {"faults": [{"then": {"kind": "stall", "at": {"event": 3}}}]}


ATTRIBUTES = {"settings", "catalogue"}
"""Properties of the twin that are attributes of the other."""
FOR_A_LOOP = "as_async_httpx_client"
"""The twin's client for SDKs that have an event loop; the other's is `as_httpx_client`."""


def public(face: type) -> dict[str, Any]:
    return {name: member for name, member in inspect.getmembers(face) if not name.startswith("_")}


def parameters(call: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    found = inspect.signature(call).parameters.values()
    return [(one.name, one.kind, one.default) for one in found if one.name != "self"]


def test_both_have_the_same_names() -> None:
    assert set(public(AsyncGateway)) - set(public(Gateway)) <= WITHOUT_A_LOOP_USELESS
    assert set(public(Gateway)) - set(public(AsyncGateway)) <= ATTRIBUTES | {FOR_A_LOOP}


@pytest.mark.parametrize("name", sorted({"__init__", *public(Gateway)} - {FOR_A_LOOP}))
def test_each_name_takes_the_same_arguments(name: str) -> None:
    ours, theirs = getattr(Gateway, name), getattr(AsyncGateway, name, None)
    if callable(ours):
        assert theirs is not None
        assert parameters(ours) == parameters(theirs)


@pytest.mark.parametrize("face", [OpenRouterGateway, AsyncGateway, Gateway])
@pytest.mark.parametrize("name", CALLS)
def test_each_call_takes_the_common_arguments(face: type, name: str) -> None:
    call = getattr(face, name)
    names = set(inspect.signature(call).parameters)
    if "arguments" in names:  # named in a TypedDict
        (fields,) = get_args(get_type_hints(call)["arguments"])
        names |= set(get_type_hints(fields))
    assert names >= COMMON


class Sync:
    """Asks through `Gateway` as the tests below await."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def complete(self, *args: Any, **more: Any) -> Any:
        return self._gateway.complete(*args, **more)

    async def embed(self, *args: Any, **more: Any) -> Any:
        return self._gateway.embed(*args, **more)

    async def read(self, *args: Any, **more: Any) -> tuple[list[Any], LedgerEntry | None]:
        with self._gateway.stream(*args, **more) as reply:
            events = list(reply)
        return events, reply.entry


class Async:
    """Asks through `AsyncGateway`."""

    def __init__(self, gateway: AsyncGateway) -> None:
        self.complete, self.embed = gateway.complete, gateway.embed
        self._gateway = gateway

    async def read(self, *args: Any, **more: Any) -> tuple[list[Any], LedgerEntry | None]:
        async with self._gateway.stream(*args, **more) as reply:
            events = [event async for event in reply]
        return events, reply.entry


@pytest.fixture(params=["async", "sync", "memory"])
async def face(request: pytest.FixtureRequest, devflow_settings: Settings) -> Any:
    if request.param == "sync":
        with Gateway(devflow_settings) as gateway:
            yield Sync(gateway)
    else:
        ledger = "memory" if request.param == "memory" else None
        async with AsyncGateway(devflow_settings, ledger=ledger) as gateway:
            yield Async(gateway)


async def test_a_whole_reply_and_a_stream(face: Any) -> None:
    done = await face.complete(ASKED, project="shop", tags={"team": "web"})
    assert done.entry.attribution.project == "shop"
    assert done.entry.attribution.tags == {"team": "web"}
    events, entry = await face.read(ASKED)
    assert isinstance(events[-1], Finished)
    assert "".join(one.text for one in events if isinstance(one, TextDelta)) == done.text
    assert entry.outcome == "succeeded"


async def test_a_key_stands_for_one_call(face: Any, openrouter_sandbox: ThreadedSandbox) -> None:
    first = await face.complete(ASKED, idempotency_key="k")
    again = await face.complete(ASKED, idempotency_key="k")
    assert (again.text, again.entry, again.usage) == (first.text, first.entry, first.usage)
    events, entry = await face.read(ASKED, idempotency_key="k")
    assert "".join(one.text for one in events if isinstance(one, TextDelta)) == first.text
    assert entry == first.entry
    vectors = [await face.embed(["a", "b"], model=EMBEDDER, idempotency_key="e") for _ in "12"]
    assert vectors[0] == vectors[1]
    assert len(openrouter_sandbox.bill()["calls"]) == 2
    with pytest.raises(KeyReused):
        await face.complete(ChatRequest.from_text("Else?", model=MODEL), idempotency_key="k")
    with pytest.raises(InvalidRequest):
        await face.complete(ASKED, idempotency_key="with a space")


async def test_a_failure_that_cost_nothing_frees_its_key(
    face: Any, openrouter_sandbox: ThreadedSandbox
) -> None:
    openrouter_sandbox.set_faults({"faults": [{"then": {"kind": "status", "status": 400}}]})
    with pytest.raises(DevFlowError):
        await face.complete(ASKED, idempotency_key="k")
    openrouter_sandbox.set_faults({"faults": []})
    assert (await face.complete(ASKED, idempotency_key="k")).text


async def test_a_failure_that_may_be_billed_keeps_its_key(
    face: Any, openrouter_sandbox: ThreadedSandbox
) -> None:
    openrouter_sandbox.set_faults({"faults": [{"then": {"kind": "drop", "at": {"event": 3}}}]})
    for _ in range(2):
        with pytest.raises(DevFlowError):
            await face.complete(ASKED, idempotency_key="k")
        openrouter_sandbox.set_faults({"faults": []})
    assert len(openrouter_sandbox.bill()["calls"]) == 1


async def test_a_reply_that_is_left_early_is_not_done_again(
    devflow_settings: Settings, openrouter_sandbox: ThreadedSandbox
) -> None:
    openrouter_sandbox.set_faults(STALL)
    async with AsyncGateway(devflow_settings) as gateway:
        async with gateway.stream(ASKED, idempotency_key="k") as reply:
            async for _ in reply:
                break
        assert reply.entry is not None
        assert reply.entry.outcome == "cancelled"
        with pytest.raises(PossiblyAccepted, match="another idempotency_key"):
            await gateway.complete(ASKED, idempotency_key="k")


async def test_a_key_outlives_its_process(
    devflow_settings: Settings, openrouter_sandbox: ThreadedSandbox
) -> None:
    async with AsyncGateway(devflow_settings) as gateway:
        first = await gateway.complete(ASKED, idempotency_key="k")
    with Gateway(devflow_settings) as gateway:
        assert gateway.complete(ASKED, idempotency_key="k").text == first.text
    assert len(openrouter_sandbox.bill()["calls"]) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_cost_usd": "much"}, {"max_cost_usd": -1}, {"project": "./nowhere"},
        {"tags": {"": "x"}}, {"tags": {"a b": "x"}}, {"tags": {"a": "x" * 129}},
        {"tags": {"a": "\x1b[2J"}}, {"tags": {f"n{n}": "x" for n in range(17)}},
        {"tags": {"key": "sk-or-v1-" + "0a" * 32}},
    ],
)  # fmt: skip
async def test_wrong_arguments_are_told_before_anything_is_sent(
    devflow_settings: Settings, openrouter_sandbox: ThreadedSandbox, wrong: dict[str, Any]
) -> None:
    async with AsyncGateway(devflow_settings) as gateway:
        with pytest.raises(InvalidRequest):
            await gateway.complete(ASKED, **wrong)
        with pytest.raises(InvalidRequest):
            gateway.explain(ASKED, **wrong)
    assert openrouter_sandbox.bill()["calls"] == []


def test_embeddings_are_booked(devflow_gateway: Gateway) -> None:
    found = devflow_gateway.embed(["a", "b"], model=EMBEDDER, dimensions=64, tags={"of": "test"})
    assert [len(one) for one in found.vectors] == [64, 64]
    assert found.cost_usd > 0
    assert found.entry.attribution.tags == {"of": "test"}
    assert devflow_gateway.report().as_json()["rows"][0]["key"] == EMBEDDER
    with pytest.raises(InvalidRequest):
        devflow_gateway.embed([], model=EMBEDDER)


def test_several_threads_may_ask_at_once(devflow_gateway: Gateway) -> None:
    def ask(asked: ChatRequest) -> str:
        return devflow_gateway.complete(asked).text

    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(ask, [ASKED] * 16))
    assert len(texts) == 16
    assert devflow_gateway.report().as_json()["total"]["requests"] == 16


def interrupt_when_asked(settings: Settings) -> threading.Thread:
    """Send this process Ctrl-C once an attempt is under way, from a thread that is returned."""

    def interrupt() -> None:
        for _ in range(3_000):
            if make_store(settings).under_way_since() is not None:
                os.kill(os.getpid(), signal.SIGINT)
                return
            time.sleep(0.01)

    thread = threading.Thread(target=interrupt)
    thread.start()
    return thread


def test_ctrl_c_cancels_the_call_and_books_it(
    devflow_settings: Settings, openrouter_sandbox: ThreadedSandbox
) -> None:
    openrouter_sandbox.set_faults(STALL)
    with Gateway(devflow_settings) as gateway:
        thread = interrupt_when_asked(devflow_settings)
        with pytest.raises(KeyboardInterrupt):
            gateway.complete(ASKED)
        thread.join()
        assert gateway.report().as_json()["total"]["requests"] == 1  # booked, and it goes on
    (entry,) = make_store(devflow_settings).entries()
    assert entry.outcome == "cancelled"


async def test_a_cancel_scope_books_the_call_before_it_goes_on(
    devflow_settings: Settings, openrouter_sandbox: ThreadedSandbox
) -> None:
    openrouter_sandbox.set_faults(STALL)
    async with AsyncGateway(devflow_settings) as gateway:
        replies: list[Reply] = []
        with anyio.CancelScope() as scope:
            async with gateway.stream(ASKED, idempotency_key="k") as opened:
                replies.append(opened)
                async for _ in opened:
                    scope.cancel()
        assert scope.cancelled_caught
        (reply,) = replies
        assert make_store(devflow_settings).entry(reply.entry_id) == reply.entry
        assert reply.entry is not None
        assert reply.entry.outcome == "cancelled"
        with pytest.raises(PossiblyAccepted):
            await gateway.complete(ASKED, idempotency_key="k")


def test_closing_ends_the_calls_of_other_threads(
    devflow_settings: Settings, openrouter_sandbox: ThreadedSandbox
) -> None:
    openrouter_sandbox.set_faults(STALL)
    begun = threading.Event()

    def read(gateway: Gateway) -> None:
        with gateway.stream(ASKED) as reply:
            for _ in reply:
                begun.set()

    with ThreadPoolExecutor(1) as pool:
        with Gateway(devflow_settings) as gateway:
            reading = pool.submit(read, gateway)
            assert begun.wait(30)
        with pytest.raises(ConfigurationError, match="closed"):
            reading.result(30)
    (entry,) = make_store(devflow_settings).entries()
    assert entry.outcome == "cancelled"


def test_a_stream_that_is_left_early_is_cancelled(
    devflow_gateway: Gateway, openrouter_sandbox: ThreadedSandbox
) -> None:
    openrouter_sandbox.set_faults(STALL)
    left: list[StreamedReply] = []

    def read() -> None:
        with devflow_gateway.stream(ASKED) as reply:
            left.append(reply)
            for _ in reply:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        read()
    assert left[0].entry is not None
    assert left[0].entry.outcome == "cancelled"


def test_an_error_on_opening_leaves_no_thread(devflow_settings: Settings) -> None:
    devflow_settings.data_dir.mkdir(parents=True)
    (devflow_settings.data_dir / "ledger.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(DevFlowError), Gateway(devflow_settings):
        pass
    assert not [one for one in threading.enumerate() if one.name == "devflow-gateway"]


async def test_a_conflict_is_an_error_of_ours(devflow_settings: Settings) -> None:
    assert issubclass(KeyReused, Conflict)
    async with AsyncGateway(devflow_settings) as gateway:
        with pytest.raises(InvalidRequest, match="entry_id"):
            async with gateway.stream(ASKED, idempotency_key="k", entry_id="req_1"):
                pass
