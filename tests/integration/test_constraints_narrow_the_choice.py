"""What a request asks of providers narrows what `auto` chooses from, at every door."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from devflow_core import ChatRequest
from devflow_core.errors import NoCandidate
from devflow_core.settings import Settings
from devflow_core.wire import DIALECTS
from devflow_gateway import wiring
from devflow_routing import Router, encode_route
from devflow_sandbox import Sandbox
from devflow_sandbox.catalogue.models import Model
from devflow_server.serving import run_gateway
from integration.doors import KEY, Installation
from integration.upstream_door import ask

PATIENCE_S = 60.0
LISTED = ["mistralai/mistral-small-3.2-24b-instruct", "cohere/command-a"]

IGNORED = ["deepinfra", "together", "amazon-bedrock", "openai", "azure"]


def at(*slugs: str) -> Callable[[Model], bool]:
    return lambda one: any(provider.slug in slugs for provider in one.providers)


@dataclass(frozen=True)
class Case:
    """Fields of a body, and what the model that answers has to be like."""

    fields: dict[str, Any]
    fits: Callable[[Model], bool]


CASES = [
    Case({"provider": {"only": ["deepinfra"]}}, at("deepinfra")),
    Case({"provider": {"only": ["Azure"]}}, at("azure")),
    Case({"provider": {"only": ["mistral"]}}, at("mistral")),
    Case(
        {"provider": {"ignore": IGNORED}},
        lambda one: any(provider.slug not in IGNORED for provider in one.providers),
    ),
    Case({"provider": {"order": ["xai"], "allow_fallbacks": False}}, at("xai")),
    Case({"provider": {"order": ["xai", "baidu"]}}, at("xai", "baidu")),
    Case(
        {"provider": {"quantizations": ["fp4", "bf16"]}},
        lambda one: any(provider.quantization == "fp4" for provider in one.providers),
    ),
    Case(
        {"provider": {"max_price": {"prompt": "0.04", "completion": 0.15}}},
        lambda one: (
            one.prices.prompt <= Decimal("4e-8") and one.prices.completion <= Decimal("15e-8")
        ),
    ),
    Case(
        {"provider": {"zdr": True, "only": ["azure", "cohere"]}},
        at("azure"),
    ),
    Case(
        {"provider": {"data_collection": "deny", "only": ["deepinfra"]}},
        at("deepinfra"),
    ),
    Case({"models": LISTED}, lambda one: one.id in LISTED),
]


def settings_of(folder: Path, sandbox: Sandbox) -> Settings:
    return Settings.load(
        {},
        base_url=sandbox.base_url,
        api_key=sandbox.api_key,
        require_key=False,
        port=0,
        data_dir=folder,
        cache=False,
    )


@asynccontextmanager
async def served(folder: Path) -> AsyncGenerator[tuple[Sandbox, httpx.AsyncClient]]:
    async with Sandbox() as sandbox:
        settings = settings_of(folder, sandbox)
        await wiring.refresh_catalogue(settings)
        async with (
            run_gateway(settings) as running,
            httpx.AsyncClient(base_url=running.url, timeout=PATIENCE_S, trust_env=False) as client,
        ):
            yield sandbox, client


def asking(fields: dict[str, Any], model: str = "auto") -> ChatRequest:
    return replace(ChatRequest.from_text("Say hello.", model=model), extra=fields)


async def test_the_server_chooses_in_every_dialect_whom_the_provider_lets_answer(
    tmp_path: Path,
) -> None:
    async with served(tmp_path) as (sandbox, client):
        for wire in DIALECTS:
            for case in CASES:
                path, body = ask(wire, stream=False, **{"model": "auto", **case.fields})
                reply = await client.post(path, json=body)
                assert reply.status_code == 200, (wire, case.fields, reply.text)
                chosen = sandbox.state.catalogue.get(reply.headers["x-devflow-model"])
                assert chosen is not None
                assert case.fits(chosen), (wire, case.fields, chosen.id)
                # the first choice answered: nobody was asked in vain
                assert "x-devflow-fallbacks" not in reply.headers
            path, body = ask(wire, stream=False, model="auto", provider={"only": ["nobody"]})
            refused = await client.post(path, json=body)
            assert refused.status_code == 404, wire
            assert "provider.only: of " in refused.text, wire
            assert "no endpoint at nobody" in refused.text, wire


async def test_python_is_told_who_is_left_out_why_and_every_decision_replays(
    tmp_path: Path,
) -> None:
    async with Sandbox() as sandbox:
        async with wiring.open_gateway(settings_of(tmp_path, sandbox)) as gateway:
            await gateway.refresh_catalogue()
            for case in CASES:
                request = asking(case.fields)
                shown = gateway.explain(request)
                for one in shown.candidates:
                    known = sandbox.state.catalogue.get(one.model)
                    fetched = gateway.catalogue.current.endpoints.get(one.model)
                    # the stand-in does not sell all that is assumed of makers
                    if known is not None and fetched is not None and fetched.asked_at is not None:
                        assert case.fits(known), (case.fields, one.model)
                reply = await gateway.complete(request)
                (entry,) = gateway.recent_entries[-1:]
                assert entry.decision is not None
                assert reply.model.startswith(shown.chosen.model)
                assert isinstance(gateway.router, Router)
                again = gateway.router.replay(entry.decision)
                assert encode_route(again) == entry.decision
            reasons = {one.reason for one in gateway.explain(asking(CASES[0].fields)).excluded}
            assert "no endpoint at deepinfra" in reasons
            priced = {"provider": {"max_price": {"prompt": 1}}}
            reasons = {one.reason for one in gateway.explain(asking(priced)).excluded}
            assert "dearer than max_price ($1 per million tokens in)" in reasons
            both = {"provider": {"only": ["azure"], "quantizations": ["fp4"]}}
            with pytest.raises(
                NoCandidate, match=r"provider\.quantizations.*within provider\.only"
            ):
                gateway.explain(asking(both))
            # a model that was named is never replaced; the provider itself refuses
            named = gateway.explain(asking(CASES[0].fields, "openai/gpt-5-mini"))
            assert named.chosen.model == "openai/gpt-5-mini"
        # the answers are kept with the list, and read at the next start
        async with wiring.open_gateway(settings_of(tmp_path, sandbox)) as gateway:
            reasons = {one.reason for one in gateway.explain(asking(CASES[0].fields)).excluded}
            assert "no endpoint at deepinfra" in reasons


def test_the_command_explains_a_body_with_constraints(tmp_path: Path) -> None:
    user = Installation(home=tmp_path / "home", folder=tmp_path / "folder")
    user.environment["OPENROUTER_API_KEY"] = KEY
    body = {
        "model": "auto",
        "messages": [{"role": "user", "content": "Say hello."}],
        "provider": {"only": ["anthropic"], "max_price": {"completion": 20}},
    }
    file = user.folder / "body.json"
    file.write_text(json.dumps(body))
    shown = json.loads(user.run("explain", "--request", str(file), "--json=full").stdout)
    # nothing was fetched yet: the maker is assumed to serve its own models
    chosen = [one["model"] for one in shown["candidates"] if not one["excluded"]]
    assert chosen
    assert {one.partition("/")[0] for one in chosen} == {"anthropic"}
    reasons = {one["excluded"] for one in shown["candidates"]}
    assert {"no endpoint at anthropic", "dearer than max_price ($20 per million tokens out)"} <= (
        reasons
    )
    body["provider"] = {"only": ["nobody"]}
    file.write_text(json.dumps(body))
    refused = user.run("explain", "--request", str(file))
    assert refused.returncode == 1
    assert "provider.only" in refused.stderr
    assert "devflow models refresh" in refused.stderr


async def test_published_speed_decides_what_is_fast(tmp_path: Path) -> None:
    async with Sandbox() as sandbox:
        settings = settings_of(tmp_path, sandbox)
        fast = asking({}, "auto:fast")
        async with wiring.open_gateway(settings) as gateway:
            await gateway.refresh_catalogue()
            catalogue = gateway.catalogue.current
            second = next(
                one.model
                for one in gateway.explain(fast).candidates[1:]
                if catalogue.endpoints[one.model].asked_at is not None
            )
            known = catalogue.endpoints[second]
            assert all(one.output_tokens_per_s for one in known.rows)
            rows = tuple(replace(one, output_tokens_per_s=5_000.0) for one in known.rows)
            assert isinstance(gateway.router, Router)
            gateway.router.set_catalogue(
                catalogue.with_endpoints({**catalogue.endpoints, second: replace(known, rows=rows)})
            )
            assert gateway.explain(fast).chosen.model == second
