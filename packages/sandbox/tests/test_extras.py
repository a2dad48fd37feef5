"""What is billed beside tokens, in every dialect, and that all five accounts of it agree."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest
from devflow_sandbox import Sandbox

Client = Callable[..., httpx.AsyncClient]
Body = dict[str, Any]

CHEAP = "deepseek/deepseek-v3.2"
"""Has no search of its own and cannot read PDFs."""
GPT = "openai/gpt-5-mini"
CLAUDE = "anthropic/claude-haiku-4.5"
QUESTION = "What is new?"
PAGES = b"%PDF-1.4\n" + b"<< /Type /Page >>\n" * 7 + b"<< /Type /Pages /Count 7 >>"
PDF = "data:application/pdf;base64," + base64.b64encode(PAGES).decode()
PATHS = ("chat/completions", "messages", "responses")


def ask(path: str, model: str = CHEAP, **more: Any) -> Body:
    """A request in the dialect of a path."""
    asked: Body = {"model": model, "max_tokens": 300}
    if path == "responses":
        asked = {"model": model, "max_output_tokens": 300, "input": QUESTION}
    else:
        asked["messages"] = [{"role": "user", "content": QUESTION}]
    return asked | more


def with_pdf(path: str, model: str = CHEAP, **more: Any) -> Body:
    """A request with a PDF of seven pages."""
    part: Body = {"type": "file", "file": {"filename": "a.pdf", "file_data": PDF}}
    if path == "messages":
        data = PDF.partition(",")[2]
        source = {"type": "base64", "media_type": "application/pdf", "data": data}
        part = {"type": "document", "source": source}
    if path == "responses":
        part = {"type": "input_file", "filename": "a.pdf", "file_data": PDF}
    message = {"role": "user", "content": [{"type": "text", "text": QUESTION}, part]}
    asked = ask(path, model, **more)
    return asked | {"input" if path == "responses" else "messages": [message]}


def usage_of(path: str, text: str) -> Body:
    """The usage of a whole reply, or the last one of a stream, with every digit."""
    if not text.lstrip().startswith("{"):
        lines = [one[6:] for one in text.splitlines() if one.startswith("data: {")]
        text = next(one for one in reversed(lines) if '"cost"' in one)
    body: Body = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    return body.get("response", body)["usage"]


async def bill_of(client: Client, path: str, body: Body, **setup: Any) -> Body:
    """The row of the bill for one request, after all that tell its cost have agreed."""
    sandbox = Sandbox(generation_delay_s=0, **setup)
    async with client(sandbox) as http, client(sandbox, sandbox.management_key) as manager:
        reply = await http.post(path, json=body)
        assert reply.status_code == 200, reply.text
        (row,) = sandbox.bill()["calls"]
        cost_usd = Decimal(row["cost_usd"])
        usage = usage_of(path, reply.text)
        assert Decimal(usage["cost"]) == cost_usd
        generation_id = reply.headers["x-generation-id"]
        told = (await http.get("generation", params={"id": generation_id})).text
        generation = json.loads(told, parse_float=Decimal)["data"]
        assert Decimal(generation["total_cost"]) == cost_usd
        credits = json.loads((await manager.get("credits")).text, parse_float=Decimal)["data"]
        assert Decimal(credits["total_usage"]) == cost_usd
        sandbox.advance(86_400)
        days = json.loads((await manager.get("activity")).text, parse_float=Decimal)["data"]
        assert sum(Decimal(day["usage"]) for day in days) == cost_usd
        assert Decimal(sandbox.bill()["total_usd"]) == cost_usd
    return row | {"usage": usage, "generation": generation}


def extras_of(row: Body) -> list[tuple[str, str, int, str]]:
    return [(one["kind"], one["name"], one["count"], one["usd"]) for one in row["extras"]]


ANY_SEARCH = {"type": "openrouter:web_search", "parameters": {"max_uses": 3}}
SEARCHES: list[tuple[str, str, Body, list[tuple[str, str, int, str]]]] = [
    ("chat/completions", CHEAP, {"plugins": [{"id": "web"}]}, [("web_search", "exa", 1, "0.007")]),
    ("chat/completions", f"{CHEAP}:online", {}, [("web_search", "exa", 1, "0.007")]),
    (
        "chat/completions",
        CHEAP,
        {"plugins": [{"id": "web", "max_results": 14, "mode": "deep"}]},
        [("web_search", "exa", 1, "0.016")],
    ),
    (
        "chat/completions",
        GPT,
        {"plugins": [{"id": "web", "engine": "parallel", "mode": "turbo"}]},
        [("web_search", "parallel", 1, "0.001")],
    ),
    ("messages", CHEAP, {"plugins": [{"id": "web"}]}, [("web_search", "exa", 1, "0.007")]),
    ("responses", GPT, {"plugins": [{"id": "web"}]}, [("web_search", "native", 1, "0.01")]),
    ("chat/completions", GPT, {"web_search_options": {}}, [("web_search", "native", 1, "0.01")]),
    ("chat/completions", CHEAP, {"tools": [ANY_SEARCH]}, [("web_search", "exa", 3, "0.021")]),
    (
        "messages",
        CLAUDE,
        {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 20}]},
        [("web_search", "native", 20, "0.2")],
    ),
    (
        "messages",
        CHEAP,
        {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 20}]},
        [("web_search", "exa", 10, "0.07")],  # 50 results in all
    ),
    ("responses", GPT, {"tools": [{"type": "web_search"}]}, [("web_search", "native", 30, "0.3")]),
    (
        "responses",
        GPT,
        {"tools": [{"type": "web_search_preview"}], "max_tool_calls": 4},
        [("web_search", "native", 4, "0.04")],
    ),
    (
        "chat/completions",
        "x-ai/grok-4.6",
        {"plugins": [{"id": "web"}]},
        [("web_search", "native", 2, "0.01")],  # the web and X
    ),
    ("chat/completions", "perplexity/sonar", {}, [("built_in_search", "native", 1, "0.005")]),
    (
        "chat/completions",
        CHEAP,
        {"tools": [{"type": "openrouter:web_fetch", "parameters": {"max_uses": 2}}]},
        [("web_fetch", "exa", 2, "0.002")],
    ),
    ("chat/completions", CHEAP, {"tools": [ANY_SEARCH], "tool_choice": "none"}, []),
    ("chat/completions", CHEAP, {"plugins": [{"id": "web", "enabled": False}]}, []),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("path", "model", "more", "billed"), SEARCHES)
async def test_searches_and_pages_are_billed_by_the_piece(
    client: Client,
    path: str,
    model: str,
    more: Body,
    billed: list[tuple[str, str, int, str]],
    *,
    stream: bool,
) -> None:
    body = ask(path, model, stream=stream, **more)
    row = await bill_of(client, path, body, tool_uses=100)
    assert extras_of(row) == billed
    fees_usd = sum((Decimal(one[3]) for one in billed), Decimal(0))
    details = row["usage"]["cost_details"]
    inner = "input output" if path == "responses" else "prompt completions"
    tokens_usd = sum(Decimal(details[f"upstream_inference_{one}_cost"]) for one in inner.split())
    assert Decimal(row["cost_usd"]) == tokens_usd + fees_usd
    is_native = any(one[1] == "native" for one in billed)
    providers_usd = tokens_usd + (fees_usd if is_native else 0)
    assert Decimal(details["upstream_inference_cost"]) == providers_usd


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("model", "engine", "billed"),
    [
        (CHEAP, "mistral-ocr", [("pdf", "mistral-ocr", 7, "0.014")]),
        (CHEAP, None, [("pdf", "mistral-ocr", 7, "0.014")]),  # it cannot read files itself
        (CHEAP, "cloudflare-ai", []),
        (CHEAP, "pdf-text", []),
        (CLAUDE, None, []),
        (CLAUDE, "native", []),
        (CLAUDE, "mistral-ocr", [("pdf", "mistral-ocr", 7, "0.014")]),
    ],
)
async def test_pages_of_a_pdf_are_billed_where_it_is_read(
    client: Client,
    path: str,
    model: str,
    engine: str | None,
    billed: list[tuple[str, str, int, str]],
    *,
    stream: bool,
) -> None:
    plugins = [{"id": "file-parser", "pdf": {"engine": engine}}] if engine else []
    body = with_pdf(path, model, stream=stream, plugins=plugins)
    row = await bill_of(client, path, body)
    assert extras_of(row) == billed


async def test_a_pdf_whose_text_comes_back_is_not_read_again(client: Client) -> None:
    sandbox = Sandbox()
    body = with_pdf("chat/completions")
    async with client(sandbox) as http:
        message = (await http.post("chat/completions", json=body)).json()["choices"][0]["message"]
        again = {**body, "messages": [*body["messages"], message, *body["messages"]]}
        await http.post("chat/completions", json=again)
    assert [len(one["extras"]) for one in sandbox.bill()["calls"]] == [1, 0]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("model", "more", "tier", "factor"),
    [
        (GPT, {"service_tier": "flex"}, "flex", "0.5"),
        (GPT, {"service_tier": "priority"}, "priority", "2"),
        (GPT, {"service_tier": "fast"}, "priority", "2"),
        (GPT, {"speed": "fast"}, "priority", "2"),
        (GPT, {"service_tier": "scale"}, "default", "1"),
        (f"{GPT}:nitro", {}, "priority", "2"),
        (f"{GPT}:nitro", {"service_tier": "default"}, "default", "1"),
        (f"{GPT}:floor", {}, "flex", "0.5"),
        (GPT, {"provider": {"only": ["openai/priority"]}}, "priority", "2"),
        (CHEAP, {"service_tier": "priority"}, "default", "1"),
        (CHEAP, {"service_tier": "flex"}, "default", "1"),
    ],
)
async def test_a_tier_changes_the_price_and_is_named(
    client: Client, path: str, model: str, more: Body, tier: str, factor: str, *, stream: bool
) -> None:
    plain = await bill_of(client, path, ask(path, model.partition(":")[0]))
    body = ask(path, model, stream=stream, **more)
    row = await bill_of(client, path, body)
    assert Decimal(row["cost_usd"]) == Decimal(factor) * Decimal(plain["cost_usd"])
    assert row["service_tier"] == tier
    if path == "messages":
        assert row["usage"]["service_tier"] == {"default": "standard"}.get(tier, tier)


async def test_a_busy_provider_serves_some_priority_calls_at_the_default_tier(
    client: Client,
) -> None:
    sandbox = Sandbox()
    async with client(sandbox) as http:
        for _ in range(24):
            body = ask("chat/completions", GPT, service_tier="priority")
            reply = (await http.post("chat/completions", json=body)).json()
            row = sandbox.bill()["calls"][-1]
            assert reply["service_tier"] == row["service_tier"]
    assert {one["service_tier"] for one in sandbox.bill()["calls"]} == {"default", "priority"}


async def test_a_flex_call_does_not_fall_back_to_what_costs_more(client: Client) -> None:
    busy = {"when": {"provider": "*/flex"}, "then": {"kind": "status", "status": 429}}
    sandbox = Sandbox(faults={"faults": [busy]})
    async with client(sandbox) as http:
        body = ask("chat/completions", GPT)
        flex = await http.post("chat/completions", json=body | {"service_tier": "flex"})
        plain = await http.post("chat/completions", json=body)
        listed = (await http.get(f"models/{GPT}/endpoints")).json()["data"]["endpoints"]
    assert (flex.status_code, plain.status_code) == (429, 200)
    prices = {one["tag"]: Decimal(one["pricing"]["completion"]) for one in listed}
    assert prices["openai/flex"] * 2 == prices["openai"] == prices["openai/priority"] / 2


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("more", [{"speed": "fast"}, {"service_tier": "priority"}])
async def test_a_fast_claude_is_its_dearer_sibling(client: Client, path: str, more: Body) -> None:
    opus = "anthropic/claude-opus-5"
    plain = await bill_of(client, path, ask(path, opus))
    row = await bill_of(client, path, ask(path, opus, **more))
    assert (row["model"], row["provider"]) == (f"{opus}-fast", "Anthropic")
    assert row["service_tier"] == "priority"
    assert Decimal(row["cost_usd"]) == 2 * Decimal(plain["cost_usd"])
    if path != "responses":
        assert row["usage"]["speed"] == "fast"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["chat/completions", "responses"])
@pytest.mark.parametrize(
    ("model", "tokens"), [("openai/gpt-5-image", 4175), ("google/gemini-2.5-flash-image", 1290)]
)
async def test_an_image_has_its_own_price(
    client: Client, path: str, model: str, tokens: int, *, stream: bool
) -> None:
    limit = {"max_output_tokens" if path == "responses" else "max_tokens": 4000}
    body = ask(path, model, stream=stream, **limit)
    plain = await bill_of(client, path, body)
    row = await bill_of(client, path, body | {"modalities": ["image", "text"]})
    price = {"openai": "0.00004", "google": "0.00003"}[model.split("/")[0]]
    assert Decimal(row["cost_usd"]) - Decimal(plain["cost_usd"]) == tokens * Decimal(price)
    assert row["image_tokens"] == tokens
    assert row["generation"]["native_tokens_completion_images"] == tokens


async def test_gemini_leaves_an_image_out_that_the_limit_has_no_room_for(client: Client) -> None:
    path, model = "chat/completions", "google/gemini-2.5-flash-image"
    row = await bill_of(client, path, ask(path, model, modalities=["image", "text"]))
    assert row["image_tokens"] == 0


async def test_speech_has_its_own_price(client: Client) -> None:
    path, model = "chat/completions", "openai/gpt-audio"
    body = ask(path, model, modalities=["text", "audio"], stream=True, max_tokens=5000)
    row = await bill_of(client, path, body)
    text = row["completion_tokens"] - row["audio_tokens"]
    details = row["usage"]["cost_details"]
    completion_usd = Decimal(details["upstream_inference_completions_cost"])
    assert row["audio_tokens"] > 0
    assert completion_usd == text * Decimal("0.00001") + row["audio_tokens"] * Decimal("0.000064")
    async with client(Sandbox()) as http:
        whole = await http.post(path, json=body | {"stream": False})
        silent = await http.post(path, json=body | {"model": GPT})
    assert (whole.status_code, silent.status_code) == (400, 404)


async def test_sound_in_a_prompt_has_its_own_price(client: Client) -> None:
    sound = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    message = {"role": "user", "content": [{"type": "text", "text": QUESTION}, sound]}
    path = "chat/completions"
    body = ask(path, "openai/gpt-audio") | {"messages": [message]}
    row = await bill_of(client, path, body)
    heard = int(row["usage"]["prompt_tokens_details"]["audio_tokens"])
    prompt_usd = Decimal(row["usage"]["cost_details"]["upstream_inference_prompt_cost"])
    read = row["prompt_tokens"] - heard
    assert heard > 0
    assert prompt_usd == read * Decimal("0.0000025") + heard * Decimal("0.000032")


OPUS = "anthropic/claude-opus-5"
MODEL_TOOLS: list[tuple[str, Body, str, set[str]]] = [
    (
        "chat/completions",
        {"type": "openrouter:advisor", "parameters": {"model": OPUS, "max_completion_tokens": 900}},
        "advisor",
        {OPUS},
    ),
    (
        "messages",
        {"type": "advisor_20260301", "name": "advisor", "model": OPUS, "max_uses": 1},
        "advisor",
        {OPUS},
    ),
    (
        "responses",
        {"type": "openrouter:subagent", "parameters": {"model": "~anthropic/claude-haiku-latest"}},
        "subagent",
        {CLAUDE},
    ),
    (
        "chat/completions",
        {"type": "openrouter:image_generation"},
        "image_generation",
        {"openai/gpt-5-image"},
    ),
    ("responses", {"type": "image_generation"}, "image_generation", {"openai/gpt-5-image"}),
    ("chat/completions", {"type": "openrouter:advisor"}, "advisor", {CHEAP}),
    (
        "chat/completions",
        {
            "type": "openrouter:fusion",
            "parameters": {"analysis_models": [GPT, CLAUDE], "model": OPUS},
        },
        "fusion",
        {GPT, CLAUDE, OPUS},
    ),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("path", "tool", "kind", "models"), MODEL_TOOLS)
async def test_a_model_behind_a_tool_is_billed_under_the_same_generation(
    client: Client, path: str, tool: Body, kind: str, models: set[str], *, stream: bool
) -> None:
    body = ask(path, tools=[tool], stream=stream)
    row = await bill_of(client, path, body)
    assert {(one["kind"], one["name"]) for one in row["extras"]} == {(kind, one) for one in models}
    plain = await bill_of(client, path, ask(path))
    fees_usd = sum(Decimal(one["usd"]) for one in row["extras"])
    assert Decimal(row["cost_usd"]) > fees_usd + Decimal(plain["cost_usd"])


async def test_the_panel_of_the_router_is_billed_too(client: Client) -> None:
    path = "chat/completions"
    row = await bill_of(client, path, ask(path, "openrouter/fusion"))
    assert [one["kind"] for one in row["extras"]] == ["fusion"] * 4
    assert "openrouter/fusion" not in row["model"]


async def test_the_router_heeds_what_it_may_choose(client: Client) -> None:
    path = "chat/completions"
    plugin = {"id": "auto-router", "allowed_models": ["openai/gpt-5.2-pro"]}
    row = await bill_of(client, path, ask(path, "openrouter/auto", plugins=[plugin]))
    assert row["model"] == "openai/gpt-5.2-pro"
    async with client(Sandbox()) as http:
        plugin = {"id": "auto-router", "allowed_models": ["nobody/*"]}
        none = await http.post(path, json=ask(path, "openrouter/auto", plugins=[plugin]))
    assert none.status_code == 404


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("chat/completions", {"models": ["openai/gpt-5.2-pro"]}),
        ("messages", {"fallbacks": [{"model": "openai/gpt-5.2-pro"}]}),
        ("messages", {"models": ["openai/gpt-5.2-pro"]}),
        ("responses", {"models": ["openai/gpt-5.2-pro"]}),
    ],
)
async def test_the_fallback_that_serves_is_billed(
    client: Client, path: str, more: Body, *, stream: bool
) -> None:
    down = {"when": {"model": "openai/gpt-5-nano"}, "then": {"kind": "status", "status": 503}}
    body = ask(path, "openai/gpt-5-nano", stream=stream, **more)
    row = await bill_of(client, path, body, faults={"faults": [down]})
    assert (row["requested"], row["model"]) == ("openai/gpt-5-nano", "openai/gpt-5.2-pro")
    assert Decimal(row["cost_usd"]) > Decimal("0.01")


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("chat/completions", {"models": [{"model": GPT}]}),
        ("chat/completions", {"models": GPT}),
        ("messages", {"fallbacks": [GPT]}),
        ("messages", {"fallbacks": [{"model": GPT, "max_tokens": 5}]}),
        ("messages", {"fallbacks": [{"model": GPT}], "models": [GPT]}),
        ("responses", {"models": [{"model": GPT}]}),
    ],
)
async def test_lists_of_another_form_are_refused(client: Client, path: str, more: Body) -> None:
    async with client(Sandbox()) as http:
        assert (await http.post(path, json=ask(path, **more))).status_code == 400


async def test_the_larger_of_two_limits_governs(client: Client) -> None:
    path = "chat/completions"
    small = await bill_of(client, path, ask(path, max_tokens=10))
    large = await bill_of(client, path, ask(path, max_tokens=10, max_completion_tokens=60))
    assert (small["completion_tokens"], large["completion_tokens"]) == (10, 60)


async def test_n_is_billed_where_it_is_heeded(client: Client) -> None:
    path = "chat/completions"
    one = await bill_of(client, path, ask(path, n=3))
    for stream in (False, True):
        three = await bill_of(client, path, ask(path, n=3, stream=stream), accepts_n=True)
        assert three["completion_tokens"] == 3 * one["completion_tokens"]


@pytest.mark.parametrize("path", PATHS)
async def test_services_are_billed_though_the_model_fails(client: Client, path: str) -> None:
    when = {"path": f"/{path}"}
    down = {"when": when, "then": {"kind": "status", "status": 503}, "billed": "fees"}
    sandbox = Sandbox(faults={"faults": [down]}, generation_delay_s=0)
    body = with_pdf(path, plugins=[{"id": "web"}], tools=[ANY_SEARCH])
    async with client(sandbox) as http, client(sandbox, sandbox.management_key) as manager:
        reply = await http.post(path, json=body)
        generation_id = reply.headers["x-generation-id"]
        told = await http.get("generation", params={"id": generation_id})
        credits = (await manager.get("credits")).json()["data"]
    (row,) = sandbox.bill()["calls"]
    assert (reply.status_code, row["outcome"]) == (503, "failed")
    assert row["cost_usd"] == "0.021"  # seven pages and the search of the plugin
    assert told.json()["data"]["total_cost"] == credits["total_usage"] == 0.021


@pytest.mark.parametrize("path", PATHS)
async def test_an_error_in_a_stream_costs_no_tokens_but_the_services(
    client: Client, path: str
) -> None:
    sandbox = Sandbox(faults={"faults": [{"then": {"kind": "error_event"}}]})
    async with client(sandbox) as http:
        for plugins in ([], [{"id": "web"}]):
            await http.post(path, json=ask(path, stream=True, plugins=plugins))
    assert [one["cost_usd"] for one in sandbox.bill()["calls"]] == ["0", "0.007"]


@pytest.mark.parametrize("uses", [0, 1, 7, 1000])
async def test_how_often_a_tool_is_used_can_be_set(client: Client, uses: int) -> None:
    path = "chat/completions"
    tool = {"type": "openrouter:web_search", "parameters": {"max_results": 1}}
    row = await bill_of(client, path, ask(path, tools=[tool]), tool_uses=uses)
    assert sum(one["count"] for one in row["extras"]) == min(uses, 30)
    details: Body = row["usage"].get("server_tool_use_details") or {}
    assert details.get("tool_calls_executed", 0) == min(uses, 30)
