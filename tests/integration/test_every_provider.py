"""Laws of every provider beside the main one: its key, its prices, its budget, its own trouble.

They run over the table and over a kind of the test's own. The replies are chat completions; a kind
that is asked in another dialect adds its reply here.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from devflow_core.errors import BudgetExceeded, ConfigurationError, KeysExhausted, ModelUnavailable
from devflow_core.memory import MemoryBook
from devflow_core.ports import Call, EventStream
from devflow_core.settings import Settings
from devflow_core.testing import a_request
from devflow_core.usage import Usage, to_pico
from devflow_core.wire import get_dialect
from devflow_gateway.providers.table import PROVIDERS, connect_providers, list_model_rows
from devflow_openrouter import OpenRouterGateway
from devflow_openrouter.models.catalogue import load_shipped_catalogue, open_catalogue
from devflow_openrouter.testing import (
    SSE_HEAD,
    ScriptedUpstream,
    chunked_body,
    error_reply,
    sse_event,
    streamed_reply,
)
from devflow_upstream import Deadlines, HttpRequest, ProviderKind, ReplyStream, Transport

MAIN_KEY, OWN_KEY, CALLERS_KEY = (
    "sk-main-0123456789abcdef",
    "sk-own-0123456789abcdef",
    "sk-caller-0123456",
)
USAGE = {"prompt_tokens": 1_000, "completion_tokens": 200, "total_tokens": 1_200}


class _Sample:
    """The least that a provider is."""

    def __init__(self, transport: Transport, deadlines: Deadlines) -> None:
        self._transport = transport
        self._deadlines = deadlines

    def open(self, call: Call, /) -> EventStream:
        dialect = get_dialect("openai_chat")
        body = dialect.encode_request(call.request, call.candidate.model.partition("/")[2]).body
        assert call.key is not None
        headers = {"Authorization": f"Bearer {call.key.secret}"}
        http = HttpRequest(method="POST", path=dialect.path, headers=headers, body=body)
        return ReplyStream(self._transport, http, call, dialect, self._deadlines, provider="sample")


SAMPLE = ProviderKind(
    name="sample",
    base_url="https://sample.invalid/v1",
    models={"sample/small": {"prompt_usd_per_mtok": "0.4", "completion_usd_per_mtok": "1.6"}},
    connect=_Sample,
)
KINDS = (*PROVIDERS, SAMPLE)
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    gateway: OpenRouterGateway
    book: MemoryBook
    main: ScriptedUpstream
    own: ScriptedUpstream


@asynccontextmanager
async def _gateway(
    kind: ProviderKind, folder: Path, *replies: bytes, limit_usd: str | None = None, **more: Any
) -> AsyncGenerator[_Asked]:
    """A gateway over the main provider and this one, both played by sockets of this test."""
    main, own = (
        ScriptedUpstream().add_script(streamed_reply("from the main one")),
        ScriptedUpstream(),
    )
    for reply in replies or (_reply(),):
        own.add_script(reply)
    book = MemoryBook(limit_pico=None if limit_usd is None else to_pico(Decimal(limit_usd)))
    async with main.serve(), own.serve():
        settings = Settings.model_validate(
            {
                "data_dir": folder,
                "base_url": main.base_url,
                "api_key": MAIN_KEY,
                "retry_wait_factor": 0,
                "providers": {kind.name: {"api_key": OWN_KEY, "base_url": own.base_url}},
                **more,
            }
        )
        gateway = OpenRouterGateway(
            settings,
            book=book,
            catalogue=open_catalogue(settings, rows=list_model_rows(settings, KINDS)),
            providers=connect_providers(settings, KINDS),
        )
        async with gateway:
            yield _Asked(gateway=gateway, book=book, main=main, own=own)


def _reply() -> bytes:
    """A reply that says neither who answers nor what it cost, and calls the model as it likes."""
    said = {"provider": None, "model": "its-own-name"}
    delta = {
        "index": 0,
        "delta": {"role": "assistant", "content": "Hello"},
        "finish_reason": "stop",
    }
    events = (sse_event(**said, choices=[delta]), sse_event(**said, choices=[], usage=USAGE))
    return SSE_HEAD + chunked_body(*events, b"data: [DONE]\n\n")


def _model(kind: ProviderKind) -> str:
    return next(iter(kind.models))


@each_kind
def test_its_models_bear_its_name_which_no_maker_has(kind: ProviderKind) -> None:
    makers = {model.author for model in load_shipped_catalogue().models}
    assert kind.name
    assert kind.name not in makers
    assert kind.models
    assert all(model.startswith(f"{kind.name}/") for model in kind.models)


@each_kind
async def test_it_is_asked_with_its_own_key_and_nobody_else_is(
    kind: ProviderKind, tmp_path: Path
) -> None:
    async with _gateway(kind, tmp_path) as asked:
        completion = await asked.gateway.complete(a_request(model=_model(kind)))
        assert completion.text == "Hello"
        (sent,) = asked.own.requests
        assert asked.main.requests == []
        assert OWN_KEY.encode() in sent
        assert MAIN_KEY.encode() not in sent
        assert b"x-openrouter" not in sent.lower()


@each_kind
async def test_every_other_model_is_asked_where_it_was(kind: ProviderKind, tmp_path: Path) -> None:
    async with _gateway(kind, tmp_path) as asked:
        await asked.gateway.complete(a_request(model="openai/gpt-5-nano"))
        (sent,) = asked.main.requests
        assert asked.own.requests == []
        assert OWN_KEY.encode() not in sent


@each_kind
async def test_it_is_booked_at_its_price_and_by_its_name(
    kind: ProviderKind, tmp_path: Path
) -> None:
    async with _gateway(kind, tmp_path) as asked:
        completion = await asked.gateway.complete(a_request(model=_model(kind)))
        price = asked.gateway.catalogue.price_of(_model(kind))
        assert price is not None
        attempt = completion.entry.attempts[-1]
        usage = Usage(input_tokens=1_000, output_tokens=200)
        assert (attempt.model, attempt.provider) == (_model(kind), kind.name)
        assert attempt.usage == usage
        assert attempt.cost_usd == asked.book.spent_usd == price.cost_usd(usage) > 0
        report = await asked.gateway.report("provider")
        assert [*report.rows] == [kind.name]


@each_kind
async def test_a_budget_holds_before_a_byte_leaves(kind: ProviderKind, tmp_path: Path) -> None:
    async with _gateway(kind, tmp_path, limit_usd="0.000000001") as asked:
        with pytest.raises(BudgetExceeded):
            await asked.gateway.complete(a_request(model=_model(kind)))
        assert asked.own.requests == asked.main.requests == []


@each_kind
async def test_a_caller_s_own_key_stays_away_from_it(kind: ProviderKind, tmp_path: Path) -> None:
    request = a_request(model=_model(kind), user_key=CALLERS_KEY)
    async with _gateway(kind, tmp_path) as asked:
        with pytest.raises(ModelUnavailable, match="own key"):
            await asked.gateway.complete(request)
        assert asked.own.requests == asked.main.requests == []
    async with _gateway(kind, tmp_path, fallback_models=["openai/gpt-5-nano"]) as asked:
        completion = await asked.gateway.complete(request)
        assert completion.model == "openai/gpt-5-nano"
        assert asked.own.requests == []
        assert CALLERS_KEY.encode() in asked.main.requests[0]


@each_kind
async def test_its_failures_are_its_own(kind: ProviderKind, tmp_path: Path) -> None:
    failed, refused = error_reply(503, "busy"), error_reply(401, "no such key")
    async with _gateway(kind, tmp_path, failed, _reply(), refused) as asked:
        completion = await asked.gateway.complete(a_request(model=_model(kind)))
        assert [one.provider for one in completion.entry.attempts] == [kind.name, kind.name]
        with pytest.raises(KeysExhausted):
            await asked.gateway.complete(a_request(model=_model(kind)))
        assert (await asked.gateway.complete(a_request(model="openai/gpt-5-nano"))).text
        assert [key.reason for key in asked.gateway.keys.status()] == [None]


@each_kind
async def test_explain_knows_it_with_what_it_may_cost(kind: ProviderKind, tmp_path: Path) -> None:
    async with _gateway(kind, tmp_path) as asked:
        chosen = asked.gateway.explain(a_request(model=_model(kind))).chosen
        assert chosen.model == _model(kind)
        assert chosen.worst_case_usd


@each_kind
async def test_a_user_s_word_on_its_prices_counts(kind: ProviderKind, tmp_path: Path) -> None:
    dear = {"prompt_usd_per_mtok": "77"}
    async with _gateway(kind, tmp_path, models={_model(kind): dear}) as asked:
        price = asked.gateway.catalogue.price_of(_model(kind))
        assert price is not None
        assert price.prompt * 1_000_000 == 77
        assert price.completion > 0


@each_kind
def test_without_a_key_it_is_not_listed(kind: ProviderKind, tmp_path: Path) -> None:
    settings_without_key: tuple[dict[str, Any], ...] = ({}, {kind.name: {}})
    for providers in settings_without_key:
        settings = Settings.model_validate({"data_dir": tmp_path, "providers": providers})
        catalogue = open_catalogue(settings, rows=list_model_rows(settings, KINDS))
        assert _model(kind) not in catalogue.current
        assert connect_providers(settings, KINDS) == ()


def test_a_provider_that_there_is_not_is_named_with_those_that_are(tmp_path: Path) -> None:
    settings = Settings.model_validate({"providers": {"nobody": {"api_key": OWN_KEY}}})
    with pytest.raises(ConfigurationError, match=r"'nobody'.*sample"):
        list_model_rows(settings, KINDS)
