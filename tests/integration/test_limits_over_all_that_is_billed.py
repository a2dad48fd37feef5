"""A key's models, a ceiling and a budget hold for everything that a body may set off.

Through the running server in all three dialects, streamed and whole, through Python, and in what
the reports and the budgets then say of the model that served.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from devflow_core.errors import BudgetExceeded, UnknownPrice
from devflow_core.request import ChatRequest
from devflow_core.settings import Settings
from devflow_core.usage import from_pico
from devflow_gateway import wiring
from devflow_openrouter import OpenRouterGateway
from devflow_sandbox import Sandbox
from devflow_server import run_gateway
from devflow_store import Budget

GLM, CHEAP, DEAR = "z-ai/glm-5", "openai/gpt-5-nano", "openai/gpt-5.2-pro"
OPUS, DEEPSEEK = "anthropic/claude-opus-4.5", "deepseek/deepseek-v3.2"
EMBEDDER = "openai/text-embedding-3-small"
PATHS = {
    "chat": "/v1/chat/completions",
    "messages": "/v1/messages",
    "responses": "/v1/responses",
}
SAMPLES = Path(__file__).parents[2] / "packages" / "server" / "tests" / "samples"


@dataclass(frozen=True)
class Running:
    """A gateway that runs, the stand-in behind it, and the secrets of its client keys."""

    sandbox: Sandbox
    client: httpx.AsyncClient
    settings: Settings
    secrets: dict[str, str]

    async def ask(
        self, dialect: str, key: str = "all", *, ceiling: str = "", **fields: Any
    ) -> httpx.Response:
        """One short question, with anything else in the body."""
        turns = [{"role": "user", "content": "Say hi."}]
        names = ("input", "max_output_tokens") if dialect == "responses" else ("", "max_tokens")
        body: dict[str, Any] = {names[0] or "messages": turns, names[1]: 16, **fields}
        headers = {"x-api-key": self.secrets[key]}
        if ceiling:
            headers["x-devflow-max-cost-usd"] = ceiling
        return await self.client.post(PATHS[dialect], json=body, headers=headers)

    @property
    def calls(self) -> int:
        """How many requests have reached the provider."""
        return len(self.sandbox.state.billing.calls)

    @property
    def billed(self) -> Decimal:
        """What the provider has billed."""
        return Decimal(self.sandbox.bill()["total_usd"])


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async with Sandbox(seed=4) as sandbox:
        settings = Settings.load(
            {},
            None,
            base_url=sandbox.base_url,
            api_key=sandbox.api_key,
            port=0,
            require_key=True,
            data_dir=tmp_path,
            max_retries=1,
            aliases={"claude-opus-5-5": "anthropic/claude-opus-5"},
            models={EMBEDDER: {"prompt_usd_per_mtok": "0.02", "completion_usd_per_mtok": "0"}},
        )
        async with wiring.make_store(settings) as store:
            scopes: dict[str, dict[str, Any]] = {"zai": {"models": ["z-ai/*"]}, "all": {}}
            names = ("zai", "all", "daily", "rich")
            secrets = {
                name: (await store.keys.create(name, scopes.get(name, {})))[1] for name in names
            }
            for key, limit in (("daily", "0.01"), ("rich", "500")):
                budget = Budget(scope="key", value=key, window="day", limit_usd=Decimal(limit))
                await store.budgets.set(budget)
        async with (
            run_gateway(settings) as started,
            httpx.AsyncClient(base_url=started.url, timeout=60, trust_env=False) as client,
        ):
            yield Running(sandbox, client, settings, secrets)


def message_of(reply: httpx.Response) -> str:
    return str(reply.json()["error"]["message"])


def server_tool(name: str, **parameters: Any) -> dict[str, Any]:
    return {"tools": [{"type": f"openrouter:{name}", "name": name, "parameters": parameters}]}


BEYOND: dict[str, dict[str, Any]] = {
    "tools.0.parameters.model": server_tool("advisor", model=OPUS),
    "tools.0.parameters.model ": server_tool("subagent", model=OPUS),
    "tools.0.parameters.model  ": server_tool("image_generation", model="openai/gpt-5-image"),
    "tools.0.model": {"tools": [{"type": "advisor_20260301", "name": "a", "model": OPUS}]},
    "plugins.0.analysis_models.0": {
        "plugins": [{"id": "fusion", "analysis_models": [OPUS], "model": GLM}]
    },
    "plugins.0.allowed_models": {
        "plugins": [{"id": "auto-router", "allowed_models": ["anthropic/*"]}]
    },
    "plugins.0.pin_model": {
        "plugins": [{"id": "auto-router", "allowed_models": [GLM], "pin_model": OPUS}]
    },
    "plugins.0": {"plugins": [{"id": "of-tomorrow"}]},
    "models": {"models": OPUS},
    "fallbacks.model": {"fallbacks": {"model": OPUS}},
    "models.1": {"models": [GLM, OPUS]},
    "tools.0": {"tools": [{"type": "mystery_20300101", "name": "mystery"}]},
    "delegate_to": {"delegate_to": {"model": OPUS}},
}


@pytest.mark.parametrize("dialect", PATHS)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_keys_models_hold_for_whoever_may_be_asked_inside(
    running: Running, dialect: str, stream: bool
) -> None:
    for path, fields in BEYOND.items():
        reply = await running.ask(dialect, "zai", model=GLM, stream=stream, **fields)
        assert reply.status_code == 403, (path, reply.text)
        assert message_of(reply).startswith(f"{path.strip()}:"), reply.text
    assert running.calls == 0


@pytest.mark.parametrize("dialect", PATHS)
async def test_what_stays_within_a_keys_models_goes_on(running: Running, dialect: str) -> None:
    benign: tuple[dict[str, Any], ...] = (
        {},
        {"models": [GLM, "z-ai/glm-4.6"]},
        {"plugins": [{"id": "response-healing"}, {"id": "web", "engine": "exa"}]},
        {"service_tier": "auto"},
    )
    for fields in benign:
        reply = await running.ask(dialect, "zai", model=GLM, **fields)
        assert reply.status_code == 200, reply.text


OVER: dict[str, tuple[str, dict[str, Any]]] = {
    # the ceiling is above what the tokens of the asked model may cost, and below the rest
    "dear fallback": ("0.001", {"model": CHEAP, "models": [DEAR]}),
    "search": (
        "0.006",
        {"model": DEEPSEEK, "plugins": [{"id": "web", "engine": "exa", "max_results": 10}]},
    ),
    "priority": ("0.00004", {"model": DEEPSEEK, "service_tier": "priority"}),
    "priority endpoint": (
        "0.00004",
        {"model": DEEPSEEK, "provider": {"only": ["openai/priority"]}},
    ),
    "fast": ("0.00004", {"model": DEEPSEEK, "speed": "fast"}),
}
UNBOUNDED: dict[str, dict[str, Any]] = {
    "plugins.0": {"model": CHEAP, "plugins": [{"id": "web", "max_results": 10}]},
    "tools.0.max_uses": {
        "model": CHEAP,
        "tools": [{"type": "web_search_20250305", "name": "web_search"}],
    },
    "tools.0.parameters.max_uses": {"model": CHEAP, **server_tool("web_search")},
    "plugins.0 ": {
        "model": CHEAP,
        "plugins": [{"id": "fusion", "analysis_models": [CHEAP], "model": CHEAP}],
    },
    "web_search_options": {"model": CHEAP, "web_search_options": {}},
    "service_tier": {"model": CHEAP, "service_tier": "of-tomorrow"},
    "tools.0": {"model": CHEAP, "tools": [{"type": "code_execution_20250825", "name": "code"}]},
    "prediction": {"model": CHEAP, "prediction": {"type": "content", "content": "as it was"}},
}


@pytest.mark.parametrize("dialect", PATHS)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_ceiling_holds_for_everything_that_is_billed(
    running: Running, dialect: str, stream: bool
) -> None:
    for name, (ceiling, fields) in OVER.items():
        plain = {"model": fields["model"]}
        assert (await running.ask(dialect, ceiling=ceiling, **plain)).status_code == 200, name
        before = running.calls
        reply = await running.ask(dialect, ceiling=ceiling, stream=stream, **fields)
        assert (reply.status_code, running.calls) == (402, before), (name, reply.text)


@pytest.mark.parametrize("dialect", PATHS)
@pytest.mark.parametrize("key", ["all", "rich"])
async def test_what_has_no_bound_is_refused_by_its_name_where_a_limit_holds(
    running: Running, dialect: str, key: str
) -> None:
    ceiling = "400" if key == "all" else ""
    for path, fields in UNBOUNDED.items():
        reply = await running.ask(dialect, key, ceiling=ceiling, **fields)
        assert reply.status_code == 402, (path, reply.text)
        assert f"{path.strip()}:" in message_of(reply)
    assert running.calls == 0


@pytest.mark.parametrize("dialect", PATHS)
async def test_without_a_limit_everything_goes_on(running: Running, dialect: str) -> None:
    for fields in UNBOUNDED.values():
        before = running.calls
        reply = await running.ask(dialect, **fields)
        assert reply.status_code not in (402, 403), reply.text
        assert running.calls == before + 1


async def test_the_larger_of_two_limits_is_reserved(running: Running) -> None:
    fields: dict[str, Any] = {"model": CHEAP, "max_tokens": 100_000, "max_completion_tokens": 16}
    assert (await running.ask("chat", ceiling="0.001", **fields)).status_code == 402


@pytest.mark.parametrize("dialect", PATHS)
async def test_a_budget_of_a_day_holds_for_dear_fallbacks_at_once(
    running: Running, dialect: str
) -> None:
    busy = {"when": {"model": CHEAP}, "then": {"kind": "status", "status": 503}}
    running.sandbox.set_faults({"faults": [busy]})
    field: dict[str, Any] = (
        {"fallbacks": [{"model": DEAR}]} if dialect == "messages" else {"models": [DEAR]}
    )
    replies = await asyncio.gather(
        *(running.ask(dialect, "daily", model=CHEAP, **field) for _ in range(5))
    )
    assert {one.status_code for one in replies} <= {200, 402}
    assert any(one.status_code == 402 for one in replies)
    assert running.billed <= Decimal("0.01")


@pytest.mark.parametrize("dialect", PATHS)
@pytest.mark.parametrize("stream", [False, True])
async def test_the_cost_is_put_down_to_the_model_that_served(
    running: Running, dialect: str, stream: bool
) -> None:
    busy = {"when": {"model": CHEAP}, "then": {"kind": "status", "status": 503}}
    running.sandbox.set_faults({"faults": [busy]})
    async with wiring.make_store(running.settings) as store:
        for model in (CHEAP, OPUS):
            await store.budgets.set(
                Budget(scope="model", value=model, window="day", limit_usd=Decimal(5))
            )
    # the reply names it by its other name, claude-4.5-opus-20251124
    field: dict[str, Any] = (
        {"fallbacks": [{"model": OPUS}]} if dialect == "messages" else {"models": [OPUS]}
    )
    reply = await running.ask(dialect, model=CHEAP, stream=stream, **field)
    assert (reply.status_code, reply.headers["x-devflow-model"]) == (200, OPUS), reply.text
    report = wiring.make_report(running.settings)
    costs = {model: from_pico(row.cost_pico) for model, row in report.rows.items()}
    assert costs == {OPUS: running.billed}
    async with wiring.make_store(running.settings) as store:
        states = {one.subject: one for one in store.budget_states() if one.budget.scope == "model"}
    assert states[OPUS].spent_usd == running.billed > 0
    assert states[CHEAP].spent_usd == 0
    assert {one.reserved_usd for one in states.values()} == {Decimal(0)}


async def test_a_budget_for_a_model_holds_whoever_asks_for_it(running: Running) -> None:
    async with wiring.make_store(running.settings) as store:
        await store.budgets.set(
            Budget(scope="model", value=DEAR, window="day", limit_usd=Decimal("0.00001"))
        )
    bodies: tuple[dict[str, Any], ...] = ({"models": [DEAR]}, {"models": [GLM, DEAR]})
    for body in bodies:
        assert (await running.ask("chat", model=CHEAP, **body)).status_code == 402
    assert (await running.ask("chat", model=CHEAP)).status_code == 200
    router = await running.ask("chat", model="openrouter/auto")
    assert router.status_code == 402, router.text


async def test_the_model_that_a_router_chose_is_booked(running: Running) -> None:
    for name in ("openrouter/auto", "~anthropic/claude-haiku-latest"):
        reply = await running.ask("chat", model=name)
        served = running.sandbox.state.billing.calls[-1].served_model
        assert (reply.status_code, reply.headers["x-devflow-model"]) == (200, served)


@pytest.mark.parametrize("dialect", PATHS)
async def test_the_first_of_models_is_asked_where_no_model_is_named(
    running: Running, dialect: str
) -> None:
    reply = await running.ask(dialect, models=[GLM, DEEPSEEK])
    call = running.sandbox.state.billing.calls[-1]
    assert (reply.status_code, call.model, call.served_model) == (200, GLM, GLM)


async def test_embeddings_have_the_same_limits_as_chat(running: Running) -> None:
    async def embed(ceiling: str = "", **fields: Any) -> httpx.Response:
        headers = {"x-api-key": running.secrets["all"]}
        if ceiling:
            headers["x-devflow-max-cost-usd"] = ceiling
        body = {"model": EMBEDDER, "input": "word " * 400, **fields}
        return await running.client.post("/v1/embeddings", json=body, headers=headers)

    assert (await embed("0.001")).status_code == 200
    assert (await embed("0.00000001")).status_code == 402
    assert (await embed("0.001", best_of=3)).status_code == 402
    for name in ("\r=1+1", "=cmd()", "a" * 300):
        assert (await embed(model=name)).status_code == 400


def recorded_requests() -> dict[str, tuple[dict[str, str], dict[str, Any]]]:
    """What real Claude Code has sent, by the file's name: headers and body."""
    found: dict[str, tuple[dict[str, str], dict[str, Any]]] = {}
    for path in sorted(SAMPLES.glob("*-*.json")):
        recorded = json.loads(path.read_text(encoding="utf-8"))
        if "count-tokens" not in path.stem:
            names = ("anthropic-version", "anthropic-beta", "user-agent")
            sent = {name.lower(): value for name, value in recorded["headers"]}
            headers = {name: sent[name] for name in names if name in sent}
            found[path.stem] = (headers, recorded["body"])
    return found


@pytest.mark.parametrize("name", recorded_requests())
async def test_what_claude_code_sends_goes_on_under_a_budget(running: Running, name: str) -> None:
    headers, body = recorded_requests()[name]
    reply = await running.client.post(
        "/v1/messages",
        json={**body, "stream": False},
        headers={**headers, "x-api-key": running.secrets["rich"]},
    )
    assert reply.status_code == 200, reply.text


async def test_python_has_the_same_limits(running: Running) -> None:
    def asked(ceiling: str, **extra: Any) -> ChatRequest:
        return ChatRequest(
            model=CHEAP,
            messages=ChatRequest.from_text("Say hi.").messages,
            max_output_tokens=16,
            max_cost_usd=Decimal(ceiling),
            extra=extra,
        )

    async with OpenRouterGateway(running.settings, ledger="memory") as gateway:
        assert (await gateway.complete(asked("0.001"))).cost_usd > 0
        with pytest.raises(BudgetExceeded):
            await gateway.complete(asked("0.001", models=[DEAR]))
        with pytest.raises(UnknownPrice, match=r"plugins\.0: "):
            await gateway.complete(asked("400", plugins=[{"id": "of-tomorrow"}]))
    limited = running.settings.model_copy(update={"cost_budget_usd": Decimal("0.01")})
    async with OpenRouterGateway(limited, ledger="memory") as gateway:
        request = ChatRequest.from_text("Say hi.", model=CHEAP)
        with pytest.raises(UnknownPrice):
            await gateway.complete(
                ChatRequest(
                    model="auto:cheap",
                    messages=request.messages,
                    extra={"plugins": [{"id": "of-tomorrow"}]},
                )
            )
