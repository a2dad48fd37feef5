"""A Claude that no list has yet is answered by the newest of its family, and said to be."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from devflow_core.request import ChatRequest
from devflow_core.settings import Settings
from devflow_core.wire import DIALECTS
from devflow_gateway import wiring
from devflow_openrouter.gateway import OpenRouterGateway
from devflow_sandbox.threaded import ThreadedSandbox
from devflow_store import Budget
from dialect_samples import samples_of
from integration.doors import KEY, Installation
from integration.served import upstream_of
from integration.upstream_door import Door, open_door, streamed
from structlog.testing import capture_logs

OPUS, OLD_OPUS = "anthropic/claude-opus-5", "anthropic/claude-opus-4.8"
SONNET, HAIKU = "anthropic/claude-sonnet-5", "anthropic/claude-haiku-4.5"
HEADER = "x-devflow-model-substituted"
NAMES = {
    "claude-opus-9": OPUS,
    "anthropic/claude-opus-9": OPUS,
    "claude-via-devflow/claude-opus-9": OPUS,
    "claude-opus-9-20270101": OPUS,
    "claude-opus-9[1m]": OPUS,
    "claude-opus-9@20270101": OPUS,
    "us.anthropic.claude-opus-9-20270101-v1:0": OPUS,
    "claude-opus-9-fast": "anthropic/claude-opus-5-fast",
    "claude-opus-9:batch": "anthropic/claude-opus-5:batch",
    "claude-sonnet-9-2": SONNET,
    "claude-sonnet-9-preview": SONNET,
    "claude-3-5-haiku-20241022": HAIKU,
    "claude-haiku-5-5": HAIKU,
}
REFUSED = (
    "claude-symphony-9",
    "claude-9",
    "z-ai/claude-opus-9",
    "opus",
    "gpt-9",
    "claude-opus-9:free",
)
SCOPES: dict[str, dict[str, Any]] = {
    "all": {},
    "old": {"models": ["anthropic/claude-opus-4*"]},
    "zai": {"models": ["z-ai/*"]},
}


def door(folder: Path, **settings: Any) -> Any:
    """A gateway with the shipped list, whose upstream greets in the dialect it is asked in."""
    return open_door(folder, streamed(*samples_of("anthropic_messages").hello), **settings)


async def ask(one: Door, model: str, key: str = "") -> httpx.Response:
    headers = {"x-api-key": key} if key else None
    return await one.send("anthropic_messages", stream=False, model=model, headers=headers)


@asynccontextmanager
async def limited_door(folder: Path, *budgets: Budget) -> AsyncGenerator[tuple[Door, Any]]:
    """A gateway with client keys by the names of their scopes, and budgets."""
    settings = Settings.load({}, None, data_dir=folder, api_key="sk-or-v1-test")
    async with wiring.make_store(settings) as store:
        secrets = {
            name: (await store.keys.create(name, scope))[1] for name, scope in SCOPES.items()
        }
        for budget in budgets:
            await store.budgets.set(budget)
    async with door(folder, require_key=True) as one:
        yield one, secrets


async def test_every_spelling_leads_to_the_newest_of_its_family(tmp_path: Path) -> None:
    async with door(tmp_path) as one:
        for name, model in NAMES.items():
            reply = await ask(one, name)
            assert (reply.status_code, name) == (200, name)
            assert one.upstream.models[-1] == reply.headers["x-devflow-model"] == model
            asked = name.removeprefix("claude-via-devflow/").removesuffix("[1m]")
            assert reply.headers[HEADER] == f"{asked} -> {model}"
        known = await ask(one, "claude-opus-4-8-20260528")
        assert known.headers["x-devflow-model"] == OLD_OPUS
        assert HEADER not in known.headers


async def test_other_unknown_names_are_refused_as_ever(tmp_path: Path) -> None:
    async with door(tmp_path) as one:
        for name in REFUSED:
            assert ((await ask(one, name)).status_code, name) == (404, name)
        assert one.upstream.models == []


@pytest.mark.parametrize("wire", DIALECTS)
async def test_every_dialect_says_so_stream_and_whole(tmp_path: Path, wire: str) -> None:
    async with open_door(tmp_path, streamed(*samples_of(wire).hello)) as one:
        for is_stream in (True, False):
            reply = await one.send(wire, stream=is_stream, model="claude-opus-9")
            assert "Hello" in reply.text
            assert reply.headers[HEADER] == f"claude-opus-9 -> {OPUS}"
        assert one.upstream.models == [OPUS, OPUS]


async def test_the_log_says_it_once(tmp_path: Path) -> None:
    async with door(tmp_path) as one:
        with capture_logs() as lines:
            for name in ("claude-opus-9", "claude-opus-9", "claude-haiku-9"):
                await ask(one, name)
    told = [line for line in lines if line["event"] == "model.substituted"]
    assert [(line["requested"], line["model"]) for line in told] == [
        ("claude-opus-9", OPUS),
        ("claude-haiku-9", HAIKU),
    ]


async def test_an_alias_of_the_settings_wins(tmp_path: Path) -> None:
    aliases = {"claude-opus-9": "z-ai/glm-5", "claude-*": "openai/gpt-5-mini"}
    async with door(tmp_path, aliases=aliases) as one:
        for name, model in (("claude-opus-9", "z-ai/glm-5"), ("claude-x-9", "openai/gpt-5-mini")):
            reply = await ask(one, name)
            assert reply.headers["x-devflow-model"] == model
            assert HEADER not in reply.headers


async def test_the_newest_is_chosen_within_the_scope_of_the_key(tmp_path: Path) -> None:
    async with limited_door(tmp_path) as (one, secrets):
        reply = await ask(one, "claude-opus-9", secrets["old"])
        assert reply.headers["x-devflow-model"] == OLD_OPUS
        assert reply.headers[HEADER] == f"claude-opus-9 -> {OLD_OPUS}"
        assert (await ask(one, "claude-opus-9", secrets["all"])).headers["x-devflow-model"] == OPUS
        assert (await ask(one, "claude-haiku-9", secrets["old"])).status_code == 403
        assert (await ask(one, "claude-opus-9", secrets["zai"])).status_code == 403
        assert one.upstream.models == [OLD_OPUS, OPUS]


async def test_a_budget_of_the_real_model_applies(tmp_path: Path) -> None:
    limit = Budget(scope="model", value=OPUS, window="day", limit_usd=Decimal("0.0000001"))
    async with limited_door(tmp_path, limit) as (one, secrets):
        assert (await ask(one, "claude-opus-9", secrets["all"])).status_code == 402
        assert (await ask(one, "claude-haiku-9", secrets["all"])).status_code == 200
        assert one.upstream.models == [HAIKU]


async def test_its_tokens_are_counted(tmp_path: Path) -> None:
    async with door(tmp_path) as one:
        counts = [
            (
                await one.send(
                    "anthropic_messages", stream=False, model=name, below="/count_tokens"
                )
            ).json()
            for name in ("claude-opus-9", OPUS)
        ]
        assert counts[0] == counts[1]


async def test_the_ledger_prices_the_real_model_and_none_of_the_name(tmp_path: Path) -> None:
    async with door(tmp_path) as one:
        await ask(one, "claude-opus-9")
    settings = Settings.load({}, None, data_dir=tmp_path, api_key="sk-or-v1-test")
    async with wiring.make_store(settings) as store:
        (entry,) = store.entries()
    assert (entry.requested_model, entry.model) == ("claude-opus-9", OPUS)
    assert wiring.open_catalogue(settings).price_of("claude-opus-9") is None


async def test_python_is_told_by_the_route(tmp_path: Path) -> None:
    async with open_door(tmp_path, streamed(*samples_of("openai_chat").hello)) as one:
        settings = Settings.load({}, None, base_url=one.settings.base_url, api_key=KEY)
        async with OpenRouterGateway(settings, ledger="memory") as gateway:
            done = await gateway.complete(ChatRequest.from_text("Hello?", model="claude-opus-9"))
    assert done.model == OPUS
    assert done.route.substitutions == (("claude-opus-9", OPUS),)
    assert "named by the caller as claude-opus-9" in done.route.chosen.reason


def test_the_command_line_explains_it(tmp_path: Path) -> None:
    here = Installation(home=tmp_path / "home", folder=tmp_path / "folder")
    shown = here.run("explain", "Hello?", "--model", "claude-opus-9")
    assert (shown.returncode, OPUS in shown.stdout) == (0, True), shown.stderr
    assert "claude-opus-9 is not in the catalogue" in shown.stdout
    refused = here.run("explain", "Hello?", "--model", "claude-symphony-9")
    assert refused.returncode == 1


def test_asking_on_the_command_line_says_it_once(
    tmp_path: Path, openrouter_sandbox: ThreadedSandbox
) -> None:
    here = Installation(
        home=tmp_path / "home",
        folder=tmp_path / "folder",
        environment=upstream_of(openrouter_sandbox),
    )
    shown = here.run("ask", "Hello?", "--model", "claude-opus-9")
    assert (shown.returncode, shown.stderr.count("claude-opus-9")) == (0, 1), shown.stderr
    assert f"{OPUS}: named by the caller as claude-opus-9" in shown.stderr
    told = here.run("ask", "Hello?", "--model", "claude-opus-9", "--json")
    assert told.stderr.count("claude-opus-9") == 1  # in the log: the document is for programs
