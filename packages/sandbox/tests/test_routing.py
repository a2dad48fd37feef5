"""Names of models, providers and their preferences, the catalogue, and both caches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from devflow_sandbox import Sandbox

Client = Callable[..., httpx.AsyncClient]
Body = dict[str, Any]
LONG = "All work and no play makes this a prompt that is worth keeping. " * 200


@pytest.mark.parametrize(
    ("requested", "label", "billed"),
    [
        (
            "anthropic/claude-sonnet-4-5",
            "anthropic/claude-4.5-sonnet-20250929",
            "anthropic/claude-sonnet-4.5",
        ),
        (
            "anthropic/claude-4.5-sonnet-20250929",
            "anthropic/claude-4.5-sonnet-20250929",
            "anthropic/claude-sonnet-4.5",
        ),
        ("openai/gpt-5-mini:nitro", "openai/gpt-5-mini", "openai/gpt-5-mini"),
        ("openai/gpt-5-mini:floor", "openai/gpt-5-mini", "openai/gpt-5-mini"),
        ("~openai/gpt-latest", "openai/gpt-5.6-sol", "openai/gpt-5.6-sol"),
        (
            "anthropic/claude-opus-5:batch",
            "anthropic/claude-opus-5-20260723",
            "anthropic/claude-opus-5:batch",
        ),
    ],
)
async def test_names_of_models(client: Client, requested: str, label: str, billed: str) -> None:
    sandbox = Sandbox()
    body = {"model": requested, "messages": [{"role": "user", "content": "hi"}]}
    async with client(sandbox) as http:
        reply = (await http.post("chat/completions", json=body)).json()
    assert reply["model"] == label
    assert sandbox.bill()["calls"][0]["model"] == billed


async def test_routers_choose_and_say_so(client: Client, chat_body: Body) -> None:
    sandbox = Sandbox(generation_delay_s=0)
    headers = {"x-openrouter-metadata": "enabled"}
    async with client(sandbox) as http:
        body = {**chat_body, "model": "openrouter/auto"}
        reply = (await http.post("chat/completions", json=body, headers=headers)).json()
        known = (await http.get("generation", params={"id": reply["id"]})).json()["data"]
        latest = {**chat_body, "model": "~anthropic/claude-opus-latest", "stream": True}
        stream = (await http.post("chat/completions", json=latest, headers=headers)).text
        free = (await http.post("messages", json={**chat_body, "model": "openrouter/free"})).json()
    assert known["router"] == "openrouter/auto"
    assert reply["openrouter_metadata"]["strategy"] == "auto"
    assert '"strategy":"latest"' in stream
    assert free["model"].endswith(":free")


async def test_online_costs_a_search(client: Client, chat_body: Body) -> None:
    sandbox = Sandbox()
    async with client(sandbox) as http:
        online = {**chat_body, "model": "anthropic/claude-sonnet-4.5:online"}
        usage = (await http.post("chat/completions", json=online)).json()["usage"]
        message = (await http.post("messages", json=online)).json()["usage"]
    details = usage["cost_details"]
    parts = ("upstream_inference_prompt_cost", "upstream_inference_completions_cost")
    assert usage["cost"] == pytest.approx(sum(details[one] for one in parts) + 0.01)
    assert usage["cost"] == details["upstream_inference_cost"]  # the provider's own search
    assert usage["server_tool_use_details"] == {"web_search_requests": 1}
    assert message["server_tool_use"]["web_search_requests"] == 1


@pytest.mark.parametrize(
    ("provider", "chosen"),
    [
        ({}, "Anthropic"),
        ({"order": ["google-vertex/us-east5"]}, "Google"),
        ({"only": ["amazon-bedrock"]}, "Amazon Bedrock"),
        ({"ignore": ["anthropic"]}, "Amazon Bedrock"),
        ({"order": ["google-vertex"], "allow_fallbacks": False}, "Google"),
        ({"max_price": {"prompt": "3", "completion": 15}}, "Anthropic"),
    ],
)
async def test_provider_preferences(
    client: Client, chat_body: Body, provider: dict[str, Any], chosen: str
) -> None:
    async with client(Sandbox()) as http:
        body = {**chat_body, "provider": provider}
        assert (await http.post("chat/completions", json=body)).json()["provider"] == chosen


WRONG: list[tuple[Body, int, str]] = [
    ({"provider": {"only": ["groq"]}}, 404, "No endpoints found"),
    ({"provider": {"max_price": {"prompt": 1}}}, 404, "max_price"),
    ({"provider": {"max_price": {"prompt": "x"}}}, 400, "no number"),
    ({"provider": {"data_collection": "maybe"}}, 400, "data_collection"),
    ({"provider": {"order": "anthropic"}}, 400, "array of strings"),
    ({"provider": {"require_parameters": True}, "logprobs": True}, 404, "parameters"),
    ({"model": "acme/fake-1.0"}, 400, "acme/fake-1.0 is not a valid model ID"),
    ({"model": None}, 400, "No models provided"),
    ({"model": "mancer/weaver", "tools": [{"function": {"name": "a"}}]}, 404, "tool use"),
    ({"max_tokens": 1_000_000}, 400, "maximum context length is 1000000"),
    ({"max_tokens": 0}, 400, "max_tokens"),
    ({"max_tokens": "many"}, 400, "expected integer"),
    ({"temperature": 3}, 400, "expected 0 to 2"),
    ({"temperature": "hot"}, 400, "expected number"),
    ({"stream": "yes"}, 400, "expected boolean"),
    ({"messages": []}, 400, "specify 'prompt' or 'messages'"),
    ({"messages": "hi"}, 400, "array of objects"),
    ({"messages": [{"role": "robot"}]}, 400, "'robot' is not a role"),
    ({"messages": [{"role": "user", "content": 5}]}, 400, "string or array"),
    ({"messages": [{"role": "user", "content": [5]}]}, 400, "array of objects"),
    ({"tools": [{"function": {}}]}, 400, "tools.function.name"),
    ({"tool_choice": 5}, 400, "tool_choice"),
    ({"tool_choice": {"type": "function", "function": {"name": "x"}}}, 400, "not found in"),
    ({"response_format": {"type": "json_schema"}}, 400, "json_schema.schema"),
    ({"provider": 5}, 400, "expected object"),
    ({"user": 5}, 400, "expected string"),
]


@pytest.mark.parametrize(("more", "status", "message"), WRONG)
async def test_an_invalid_request_gets_openrouters_error(
    client: Client, chat_body: Body, more: Body, status: int, message: str
) -> None:
    sandbox = Sandbox()
    async with client(sandbox) as http:
        reply = await http.post("chat/completions", json={**chat_body, **more})
    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (status, status)
    assert message in error["message"]
    (call,) = sandbox.bill()["calls"]
    assert (call["outcome"], call["generation_id"], call["cost_usd"]) == ("refused", None, "0")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"model": "\xff"}', b"[" * 100_000])
async def test_bodies_that_are_not_objects(client: Client, body: bytes) -> None:
    async with client(Sandbox()) as http:
        for path in ("chat/completions", "messages", "responses", "embeddings"):
            assert (await http.post(path, content=body)).status_code == 400


@pytest.mark.parametrize(
    ("path", "more", "message"),
    [
        ("messages", {"messages": []}, "at least one message"),
        ("messages", {"messages": [{"role": "tool"}]}, "is not a role"),
        ("messages", {"model": None}, "No models"),
        ("messages", {"fallbacks": [{"model": "a"}], "models": ["b"]}, "together"),
        ("messages", {"fallbacks": [{"model": "a"}] * 4}, "At most 3"),
        ("messages", {"fallbacks": [{"model": "a", "x": 1}]}, "only 'model'"),
        (
            "messages",
            {"system": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}] * 5},
            "maximum of 4 blocks",
        ),
        ("responses", {"store": True, "input": "a"}, "Stateful"),
        ("responses", {"previous_response_id": "r", "input": "a"}, "Stateful"),
        ("responses", {}, "expected string or array"),
        ("responses", {"input": [{"type": "odd"}]}, "'odd' is not known"),
        ("responses", {"model": None, "input": "a"}, "No models"),
    ],
)
async def test_errors_speak_the_dialect(
    client: Client, chat_body: Body, path: str, more: Body, message: str
) -> None:
    async with client(Sandbox()) as http:
        body = (await http.post(path, json={**chat_body, **more})).json()
    assert message in body["error"]["message"]
    if path == "messages":
        assert (body["type"], body["error"]["type"]) == ("error", "invalid_request_error")
    else:
        assert (body["error"]["code"], body["metadata"]) == ("invalid_prompt", None)


async def test_reasoning_that_is_mandatory_cannot_be_switched_off(client: Client) -> None:
    sandbox = Sandbox()
    rows = sandbox.state.catalogue.models
    reasoning_by_model: dict[str, dict[str, Any]] = {
        one.id: one.row.get("reasoning") or {} for one in rows
    }
    model = next(
        name for name, reasoning in reasoning_by_model.items() if reasoning.get("mandatory")
    )
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "hi"}],
        "reasoning": {"enabled": False},
    }
    async with client(sandbox) as http:
        reply = await http.post("chat/completions", json=body)
    assert "mandatory" in reply.json()["error"]["message"]


async def test_catalogue_pages_filters_and_sorts(client: Client) -> None:
    async with client(Sandbox()) as http:

        async def ids(**query: Any) -> list[str]:
            body = (await http.get("models", params=query)).json()
            return [one["id"] for one in body["data"]]

        whole = (await http.get("models")).json()
        page = (await http.get("models", params={"limit": 100, "offset": 350})).json()
        assert (whole["total_count"], len(whole["data"])) == (416, 416)
        assert whole["links"] == {"next": None}
        assert (len(page["data"]), page["links"]["next"]) == (66, None)
        first = (await http.get("models", params={"limit": 10})).json()
        assert first["links"]["next"].endswith("offset=10&limit=10")
        assert "openai/text-embedding-3-small" in await ids(output_modalities="all")
        assert await ids(output_modalities="rerank") == ["voyageai/rerank-2.5-lite"]
        assert len(await ids(supported_parameters="tools")) == 349
        assert all("sonnet" in one for one in await ids(q="Sonnet"))
        assert "openrouter/auto" not in await ids(max_price="1")
        for sort in (
            "newest",
            "pricing-low-to-high",
            "pricing-high-to-low",
            "context-high-to-low",
            "most-popular",
        ):
            assert len(await ids(sort=sort)) == 416
        for wrong in ({"sort": "odd"}, {"limit": "0"}, {"offset": "x"}, {"max_price": "x"}):
            assert (await http.get("models", params=wrong)).status_code == 400
        assert (await http.get("models/count")).json() == {"data": {"count": 416}}
        assert len((await http.get("models/user")).json()["data"]) == 416


# what Claude Code 2.1.332, 2.1.197, 2.1.50 and 2.0.77 ask for unless a model is named
CLAUDES = ("opus-5.5", "sonnet-5.5", "haiku-5.5", "opus-4.8", "sonnet-5", "haiku-4.5", "sonnet-4.6")


async def test_the_claudes_that_clients_ask_for_by_themselves_are_sold(client: Client) -> None:
    async with client(Sandbox()) as http:
        for name in (*CLAUDES, "opus-4.6", "sonnet-4.5", "opus-4.5", "opus-5-5"):
            body = {
                "model": f"anthropic/claude-{name}",
                "max_tokens": 50,
                "messages": [{"role": "user", "content": "Hello?"}],
            }
            reply = await http.post("messages", json=body)
            assert (reply.status_code, name) == (200, name)
        row = (await http.get("model/anthropic/claude-haiku-5.5")).json()["data"]
    assert row["pricing"]["overrides"][0]["min_prompt_tokens"] == 100_000


async def test_single_models_providers_and_endpoints(client: Client) -> None:
    sandbox = Sandbox()
    async with client(sandbox) as http:
        latest = (await http.get("model/~openai/gpt-latest")).json()["data"]
        served = (await http.get("models/anthropic/claude-sonnet-4.5/endpoints")).json()["data"]
        providers = (await http.get("providers")).json()["data"]
        zdr = (await http.get("endpoints/zdr")).json()["data"]
        assert (await http.get("model/acme/fake")).status_code == 404
        assert (await http.post("messages/count_tokens", json={})).status_code == 404
        assert (await http.get("/odd")).status_code == 404
        sandbox.state.account.is_zdr = True
        assert len((await http.get("models/user")).json()["data"]) < 416
    assert latest["id"] == "openai/gpt-5.6-sol"
    assert [one["tag"] for one in served["endpoints"]][:2] == ["anthropic", "amazon-bedrock"]
    assert len(providers) == 82
    assert {one["provider_name"] for one in zdr} >= {"Azure", "Together"}


async def test_rows_of_ones_own_win(client: Client, chat_body: Body) -> None:
    row = dict(Sandbox().state.catalogue.resolve("openai/gpt-5-mini").model.row)
    row |= {"id": "acme/fake-1.0", "canonical_slug": "acme/fake-1.0"}
    row["pricing"] = {"prompt": "0.001", "completion": "0", "request": "0.5"}
    async with client(Sandbox(models=[row])) as http:
        reply = (await http.post("chat/completions", json={**chat_body, "model": row["id"]})).json()
    assert reply["usage"]["cost"] == 0.5 + 0.001 * reply["usage"]["prompt_tokens"]


async def test_sessions_stay_with_their_provider_for_ten_minutes(
    client: Client, chat_body: Body
) -> None:
    sandbox = Sandbox()
    body = {**chat_body, "session_id": "s"}
    async with client(sandbox) as http:

        async def provider(more: Body) -> str:
            return (await http.post("chat/completions", json={**body, **more})).json()["provider"]

        assert await provider({"provider": {"only": ["google-vertex"]}}) == "Google"
        assert await provider({}) == "Google"
        sandbox.advance(601)
        assert await provider({}) == "Anthropic"


async def test_explicit_prompt_cache_is_written_read_and_forgotten(client: Client) -> None:
    sandbox = Sandbox()
    system = [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}]
    body = {
        "model": "anthropic/claude-sonnet-4.5",
        "system": system,
        "messages": [{"role": "user", "content": "hi"}],
    }
    async with client(sandbox) as http:

        async def usage(more: Body) -> tuple[int, int]:
            counts = (await http.post("messages", json={**body, **more})).json()["usage"]
            return counts["cache_creation_input_tokens"], counts["cache_read_input_tokens"]

        written, nothing = await usage({})
        assert (written > 3000, nothing) == (True, 0)
        assert await usage({"messages": [{"role": "user", "content": "other"}]}) == (0, written)
        sandbox.advance(301)
        assert await usage({}) == (written, 0)
        hour = [{**system[0], "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
        sandbox.advance(301)
        assert await usage({"system": hour}) == (written, 0)
        sandbox.advance(3000)
        assert await usage({"system": hour}) == (0, written)
    dear, cheap, *_, hourly, _ = sandbox.bill()["calls"]
    assert float(dear["cost_usd"]) > float(cheap["cost_usd"])
    assert float(hourly["cost_usd"]) > float(dear["cost_usd"])


async def test_top_level_cache_control_marks_the_end_of_the_prompt(client: Client) -> None:
    body = {
        "model": "anthropic/claude-sonnet-4.5",
        "messages": [{"role": "user", "content": LONG}],
        "cache_control": {"type": "ephemeral"},
    }
    async with client(Sandbox()) as http:
        first = (await http.post("chat/completions", json=body)).json()["usage"]
        second = (await http.post("chat/completions", json=body)).json()["usage"]
    written = first["prompt_tokens_details"]["cache_write_tokens"]
    assert written > 3000
    assert second["prompt_tokens_details"]["cached_tokens"] == written


async def test_implicit_prompt_cache_reads_in_steps_and_costs_less(client: Client) -> None:
    body = {"model": "openai/gpt-5-mini", "messages": [{"role": "user", "content": LONG}]}
    async with client(Sandbox()) as http:
        first = (await http.post("chat/completions", json=body)).json()["usage"]
        second = (await http.post("chat/completions", json=body)).json()["usage"]
        other = {**body, "input": LONG, "prompt_cache_options": {"mode": "explicit"}}
        explicit = (await http.post("responses", json=other)).json()["usage"]
    assert first["prompt_tokens_details"]["cached_tokens"] == 0
    cached = second["prompt_tokens_details"]["cached_tokens"]
    assert cached % 128 == 0
    assert cached > 3000
    assert second["cost"] < first["cost"]
    assert explicit["input_tokens_details"] == {"cached_tokens": 0}


async def test_response_cache_answers_for_nothing(client: Client, chat_body: Body) -> None:
    sandbox = Sandbox(generation_delay_s=0)
    wanted = {"x-openrouter-cache": "true", "x-openrouter-cache-ttl": "60"}
    async with client(sandbox) as http:

        async def status(**headers: str) -> str:
            sent = {**wanted, **{name.replace("_", "-"): one for name, one in headers.items()}}
            reply = await http.post("chat/completions", json=chat_body, headers=sent)
            return reply.headers["x-openrouter-cache-status"]

        miss = await http.post("chat/completions", json=chat_body, headers=wanted)
        sandbox.advance(5)
        hit = await http.post("chat/completions", json=chat_body, headers=wanted)
        known = (await http.get("generation", params={"id": hit.json()["id"]})).json()["data"]
        assert await status(x_openrouter_cache_clear="true") == "MISS"
        assert await status() == "HIT"
        sandbox.advance(61)
        assert await status(x_openrouter_cache_ttl="soon") == "MISS"
        plain = await http.post("chat/completions", json=chat_body)
    assert hit.headers["x-openrouter-cache-source-id"] == miss.json()["id"]
    assert hit.headers["x-openrouter-cache-age"] == "5"
    assert hit.json()["choices"] == miss.json()["choices"]
    assert (hit.json()["usage"]["total_tokens"], hit.json()["usage"]["cost"]) == (0, 0)
    assert known["response_cache_source_id"] == miss.json()["id"]
    assert "x-openrouter-cache-status" not in plain.headers


async def test_clock_is_put_forward_over_http(client: Client) -> None:
    async with client(Sandbox()) as http:
        url = "http://x/sandbox/clock"
        assert (await http.put(url, json={"advance_s": 60})).json()["ahead_s"] == 60
        assert (await http.put(url, json={"advance_s": -1})).status_code == 400
        assert (await http.get(url)).json()["ahead_s"] == 60
        assert (await http.get("http://x/sandbox/bill", params={"since": "x"})).status_code == 400
