"""Whatever a request may be billed for was reserved before it left, whoever answers and however.

The law asks the shipped gateway, over a durable ledger with budgets, everything that OpenRouter's
stand-in charges for, in all three dialects, with faults and with readers who leave; the stand-in
lets tools run as often as they may. What it then bills is the measure.
"""

import asyncio
import base64
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from devflow_core.attribution import Attribution
from devflow_core.errors import DevFlowError
from devflow_core.ledger import LedgerEntry
from devflow_core.memory import MemoryLedger
from devflow_core.messages import WireName
from devflow_core.request import ChatRequest
from devflow_core.settings import Settings
from devflow_core.wire import get_dialect
from devflow_gateway import wiring
from devflow_openrouter import OpenRouterGateway
from devflow_sandbox import Sandbox
from devflow_sandbox.books.billing_book import BilledCall
from devflow_store import Budget
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

LIMITS = {"tiny": Decimal("0.003"), "small": Decimal("0.2"), "large": Decimal(400)}
"""For each request, by the client key."""
CHEAP, DEAR, AUTO = "openai/gpt-5-nano", "openai/gpt-5.2-pro", "openrouter/auto"
HAIKU, DEEPSEEK = "anthropic/claude-haiku-4.5", "deepseek/deepseek-v3.2"
MODELS = (
    CHEAP,
    DEEPSEEK,
    HAIKU,
    "anthropic/claude-opus-4.5",
    "google/gemini-2.5-flash",
    "z-ai/glm-5",
    "~anthropic/claude-haiku-latest",
    f"{DEEPSEEK}:online",
    "auto:cheap",
    None,
)
PDF = base64.b64encode(b"%PDF-1.7\n" + b"<< /Type /Page >>\n" * 12).decode()


@dataclass
class World:
    """A gateway and the stand-in behind it, for many requests one after another."""

    loop: asyncio.AbstractEventLoop
    sandbox: Sandbox
    gateway: OpenRouterGateway
    ledger: MemoryLedger

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        self.loop.run_until_complete(work)

    async def ask(self, request: ChatRequest, *, leaves: bool) -> tuple[LedgerEntry, list[Any]]:
        """The entry of a request, and the calls that it was billed for."""
        before = len(self.sandbox.state.billing.calls)
        # a circuit that faults have opened belongs to a key; the next requests have another
        request = replace(request, user_key=f"sk-or-v1-{before // 20:064x}")
        try:
            async with self.gateway.stream(request) as reply:
                async for _ in reply:
                    if leaves:
                        break
        except DevFlowError as error:
            event(f"refused: {error.code}")
        entry = self.ledger.entries[-1]
        calls = self.sandbox.state.billing.calls[before:]
        for _ in range(200):
            if all(one.outcome != "running" for one in calls):
                break
            await asyncio.sleep(0.005)  # the stand-in has yet to see that the reader left
        return entry, calls


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("books")
    loop = asyncio.new_event_loop()
    stack = AsyncExitStack()
    try:
        yield loop.run_until_complete(open_world(loop, stack, folder))
    finally:
        loop.run_until_complete(stack.aclose())
        loop.close()


async def open_world(loop: asyncio.AbstractEventLoop, stack: AsyncExitStack, folder: Path) -> World:
    sandbox = await stack.enter_async_context(
        Sandbox(
            seed=3,
            credits_usd=Decimal(10) ** 9,
            tool_uses=1_000,
            accepts_n=True,
            accept_any_key=True,
        )
    )
    chosen = Settings.load(
        {},
        None,
        base_url=sandbox.base_url,
        api_key=sandbox.api_key,
        data_dir=folder,
        max_retries=2,
        retry_wait_factor=0.0,
        fallbacks={CHEAP: ["deepseek/deepseek-v3.2"]},
    )
    store = await stack.enter_async_context(wiring.make_store(chosen))
    for key, limit in LIMITS.items():
        await store.budgets.set(Budget(scope="key", value=key, window="request", limit_usd=limit))
    ledger = MemoryLedger(max_entries=10)
    gateway = wiring.build_gateway(store, chosen, ledger)
    await stack.enter_async_context(gateway)
    return World(loop, sandbox, gateway, ledger)


# what is asked

WIRES: tuple[WireName, ...] = ("openai_chat", "anthropic_messages", "openai_responses")
ENGINES: tuple[dict[str, str], ...] = (
    {"engine": "exa"},
    {"engine": "exa", "mode": "deep-reasoning"},
    {"engine": "parallel"},
    {"engine": "perplexity"},
    {"engine": "native"},
    {},
)
SEARCHES: tuple[dict[str, Any], ...] = tuple(
    {**engine, **bounds}
    for engine in ENGINES
    for bounds in ({"max_uses": 1}, {"max_uses": 7, "max_results": 25}, {"max_results": 10}, {})
)
STEPS = {"stop_server_tools_when": [{"type": "step_count_is", "step_count": 3}]}
FEATURES: tuple[dict[str, Any], ...] = (
    *({"plugins": [{"id": "web", **one}]} for one in SEARCHES),
    *({"tools": [{"type": "openrouter:web_search", "parameters": one}]} for one in SEARCHES),
    *({"tools": [{"type": "openrouter:web_fetch", "parameters": one}]} for one in SEARCHES[:4]),
    *({"tools": [{"type": "web_search", "name": "web_search", **one}]} for one in SEARCHES),
    *(
        {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": uses}]}
        for uses in (1, 3, 20)
    ),
    {"plugins": [{"id": "web", "enabled": False}, {"id": "response-healing"}]},
    {"plugins": [{"id": "web-fetch", "engine": "exa", "max_uses": 2}]},
    {"plugins": [{"id": "fusion", "analysis_models": [DEAR], "model": DEAR}]},
    {"plugins": [{"id": "fusion"}]},
    {"plugins": [{"id": "auto-router", "allowed_models": [CHEAP, DEAR]}], "model": AUTO},
    {"plugins": [{"id": "auto-router", "allowed_models": ["anthropic/*"]}], "model": AUTO},
    {"model": AUTO},
    *({"tools": [{"type": f"openrouter:{one}"}], **STEPS} for one in ("datetime", "bash")),
    {"tools": [{"type": "openrouter:datetime"}], "max_tool_calls": 4},
    *(
        {"tools": [{"type": f"openrouter:{one}", "parameters": {"model": DEAR}}]}
        for one in ("advisor", "subagent", "image_generation")
    ),
    {"tools": [{"type": "advisor_20260301", "name": "advisor", "model": DEAR, "max_uses": 2}]},
    {"models": [DEAR]},
    {"models": [CHEAP, DEAR]},
    {"models": [DEAR, HAIKU, DEEPSEEK]},
    {"models": DEAR},
    {"models": {}},
    {"models": [DEEPSEEK, f"{DEEPSEEK}:online"]},
    {"models": ["~anthropic/claude-haiku-latest", "no/such-model"]},
    {"fallbacks": [{"model": DEAR}]},
    {"fallbacks": {"model": DEAR}},
    *({"service_tier": one} for one in ("auto", "flex", "priority", "fast", "ultrafast", "odd")),
    *({"speed": one} for one in ("fast", "standard", "odd")),
    {"speed": "fast", "model": "anthropic/claude-opus-4.8"},
    {"provider": {"only": ["openai/priority"]}, "model": CHEAP},
    {"provider": {"sort": "price"}},
    {"modalities": ["image", "text"], "model": "google/gemini-3.1-flash-image"},
    {"modalities": ["image", "text"], "model": "openai/gpt-5-image-mini"},
    {"modalities": ["text", "audio"], "model": "openai/gpt-audio-mini"},
    {"web_search_options": {"search_context_size": "high"}},
    {"model": "perplexity/sonar"},
    {"model": "perplexity/sonar-deep-research"},
    {"n": 3},
    {"prediction": {"type": "content", "content": "as it was"}},
    {"context_management": {"edits": [{"type": "compact_20260112"}]}},
    *(
        {"plugins": [{"id": "file-parser", "pdf": {"engine": one}}], "file": True}
        for one in ("native", "cloudflare-ai", "mistral-ocr")
    ),
    {"file": True},
    {"max_completion_tokens": 4_000},
)
"""Each is a thing that is charged for, or may be; some have no bound and must not go out."""
LIMIT_NAMES = {
    "openai_chat": "max_tokens",
    "anthropic_messages": "max_tokens",
    "openai_responses": "max_output_tokens",
}
TEXTS = ("Why?", "Compare both plans. " * 40, "Grüße, 世界! " * 30)


def content_of(wire: WireName, text: str, *, has_file: bool) -> Any:
    """What the user says, with a file where one is wanted."""
    if not has_file:
        return text
    if wire == "anthropic_messages":
        source = {"type": "base64", "media_type": "application/pdf", "data": PDF}
        return [{"type": "text", "text": text}, {"type": "document", "source": source}]
    data = f"data:application/pdf;base64,{PDF}"
    if wire == "openai_responses":
        file = {"type": "input_file", "filename": "a.pdf", "file_data": data}
        return [{"type": "input_text", "text": text}, file]
    file = {"type": "file", "file": {"filename": "a.pdf", "file_data": data}}
    return [{"type": "text", "text": text}, file]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request, the limit it has, and what goes wrong."""

    wire: WireName
    model: str | None
    text: str
    limit: int | None
    features: tuple[int, ...]
    key: str
    fault: int
    leaves: bool

    def body(self) -> dict[str, Any]:
        """As a client sends it."""
        body: dict[str, Any] = {"model": self.model}
        for index in self.features:
            body |= FEATURES[index]
        has_file = body.pop("file", False)
        content = content_of(self.wire, self.text, has_file=has_file)
        turns = [{"role": "user", "content": content}]
        body["input" if self.wire == "openai_responses" else "messages"] = turns
        body[LIMIT_NAMES[self.wire]] = self.limit
        return {key: value for key, value in body.items() if value is not None}


FAULTS: tuple[Any, ...] = (
    None,
    None,
    None,
    None,
    {"kind": "status", "status": 503},
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 502, "billed": "fees"},
    {"kind": "drop", "at": {"share": 0.5}},
    {"kind": "drop"},
    {"kind": "truncate"},
    {"kind": "omit", "parts": ["cost"]},
    {"kind": "omit", "parts": ["usage"]},
    {"kind": "error_event"},
)
ASKED = st.builds(
    Asked,
    wire=st.sampled_from(WIRES),
    model=st.sampled_from(MODELS),
    text=st.sampled_from(TEXTS),
    limit=st.sampled_from([None, 1, 16, 300, 4_000]),
    features=st.lists(st.integers(0, len(FEATURES) - 1), max_size=3).map(tuple),
    key=st.sampled_from(["large", "large", "large", "small", "tiny"]),
    fault=st.integers(0, 3 * len(FAULTS) - 1),
    leaves=st.sampled_from([False, False, False, True]),
)


def script_of(asked: Asked) -> dict[str, Any]:
    """The fault, at every model or at the one that is asked first."""
    then = FAULTS[asked.fault % len(FAULTS)]
    if then is None:
        return {}
    when = {} if asked.fault < len(FAULTS) else {"model": asked.model}
    fault = {key: value for key, value in then.items() if key != "billed"}
    return {"faults": [{"when": when, "then": fault, "billed": then.get("billed", "provider")}]}


def _plain(model: str) -> str:
    """A model without variant, and without the name under which the stand-in serves it fast."""
    return model.partition(":")[0].removesuffix("-fast")


def check_entry(entry: LedgerEntry, calls: list[BilledCall], limit: Decimal) -> None:
    """Booked within what was reserved, and no more billed than that; settled to the digit."""
    by_id = {one.generation_id: one for one in calls}
    reserved = Decimal(0)
    for attempt in entry.attempts:
        assert attempt.reserved_usd is not None
        assert attempt.cost_usd <= attempt.reserved_usd, attempt
        reserved += attempt.reserved_usd
        call = by_id.get(attempt.generation_id) if attempt.generation_id else None
        if attempt.cost_status == "settled" and call is not None:
            assert attempt.cost_usd == call.cost_usd
        if call is not None and attempt.outcome == "succeeded":
            event("answered")
            served = call.served_model or ""
            assert _plain(attempt.model) == _plain(served)
    billed = sum((one.cost_usd for one in calls), Decimal(0))
    assert billed <= reserved, (billed, reserved, [one.to_row() for one in calls])
    assert billed <= entry.cost_usd or entry.cost_status == "estimated" or not calls
    assert entry.cost_usd <= limit


@pytest.mark.laws(10_000)
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(ASKED)
def test_what_is_booked_was_reserved(world: World, asked: Asked) -> None:
    try:
        request = get_dialect(asked.wire).decode_request(asked.body(), {})
    except DevFlowError:
        event("refused: by the dialect")
        return
    request = replace(request, attribution=Attribution(client_key=asked.key))
    world.sandbox.set_faults(script_of(asked))

    async def ask() -> None:
        entry, calls = await world.ask(request, leaves=asked.leaves)
        event(f"attempts: {min(2, len(entry.attempts))}")
        check_entry(entry, calls, LIMITS[asked.key])

    world.run(ask())
