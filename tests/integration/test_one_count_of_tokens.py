"""One text has one count of tokens, whoever is asked for it."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from devflow_claude_code.handoff.request import HandoffTarget, hand_off
from devflow_claude_code.session import ClaudeCodeSession
from devflow_claude_code.testing import TranscriptScript
from devflow_core.errors import Incomplete
from devflow_core.estimates import Ending, SeenReply, assess_cost
from devflow_core.events import Finished, Started, TextDelta
from devflow_core.messages import Message, Text
from devflow_core.request import ChatRequest
from devflow_core.response import Collector
from devflow_core.settings import Settings
from devflow_core.testing import a_candidate
from devflow_core.tokens import (
    DEAREST_FAMILY,
    FAMILIES,
    TextSize,
    estimate_input_tokens,
    estimate_tokens,
    family_of,
    max_tokens,
)
from devflow_core.wire.table import get_dialect
from devflow_openrouter.models.catalogue import load_shipped_catalogue
from devflow_routing import needs_of
from devflow_routing.model_selector import ModelSelector
from devflow_routing.worst_case import token_bounds
from devflow_server.serving import run_gateway
from devflow_upstream.embeddings import NamedModelRouter
from hypothesis import given
from hypothesis import strategies as st

CATALOGUE = load_shipped_catalogue()
SELECTOR = ModelSelector(CATALOGUE)
MODELS = {
    "GPT": "openai/gpt-5-mini",
    "Claude": "anthropic/claude-haiku-4.5",
    "Gemini": "google/gemini-2.5-flash",
}
models = st.sampled_from(sorted(MODELS))
texts = st.one_of(st.text(), st.text(st.sampled_from('ab {}":,0 1\n汉字'), max_size=400))


def ask(model: str, text: str) -> ChatRequest:
    return ChatRequest(model=model, messages=(Message(role="user", parts=(Text(text=text),)),))


@given(models, texts)
def test_router_budget_and_frame_agree_on_a_request(family: str, text: str) -> None:
    request, model = ask(MODELS[family], text), CATALOGUE.find(MODELS[family])
    size, needs = TextSize.from_request(request), needs_of(request)
    likely, upper = SELECTOR.estimate_input_tokens(needs)
    at = [one.id for one in SELECTOR.models].index(model.id)
    frame = get_dialect("anthropic_messages").make_encoder(request).encode(Started())
    told = json.loads(frame.split(b"data: ")[1])["message"]["usage"]["input_tokens"]
    assert told == likely[at] == estimate_input_tokens(request)
    assert told == size.estimate_tokens(FAMILIES[family])
    bounds = token_bounds(model, needs, has_ceiling=False)
    assert bounds.input == upper[at] == size.upper_input_tokens(FAMILIES[family])


@given(models, st.lists(st.text(min_size=1), max_size=5))
def test_a_reply_that_nobody_counted_has_one_count(family: str, pieces: list[str]) -> None:
    model, text = MODELS[family], "".join(pieces)
    started, deltas = Started(model=model), [TextDelta(text=one) for one in pieces]
    seen, collector = SeenReply(), Collector()
    wire = get_dialect("anthropic_messages")
    encoder, sent = wire.make_encoder(ask(model, "")), b""
    for event in (started, *deltas, Finished(finish_reason="stop")):
        sent += encoder.encode(event)
        collector.add(event)
        if not isinstance(event, Finished):
            seen.add(event)
    whole = json.loads(wire.encode_response(collector.to_response(), ask(model, "")))
    delta = next(json.loads(one[6:]) for one in sent.split(b"\n") if b'"message_delta"' in one[6:])
    expected = max(1, estimate_tokens(text, FAMILIES[family]))
    assert whole["usage"]["output_tokens"] == delta["usage"]["output_tokens"] == expected
    candidate = a_candidate(model, input_tokens=7)
    cost = assess_cost(
        Ending(
            candidate=candidate,
            model=model,
            price=candidate.price,
            reserved_usd=candidate.worst_case_usd,
            seen=seen,
            error=Incomplete("cut"),
            bills_on=lambda _provider: False,
            provider=None,
        )
    )
    upper = TextSize.from_texts([text]).upper_tokens(FAMILIES[family])
    assert cost.usage.output_tokens >= max(len(pieces), upper)  # the books are on the upper side


@given(texts)
def test_embeddings_hold_the_bound_which_nothing_exceeds(text: str) -> None:
    request = ask("openai/text-embedding-3-small", text)
    (candidate,) = NamedModelRouter(str, lambda _model: None).route(request, None).candidates  # pyright: ignore[reportArgumentType]
    assert candidate.input_tokens == max_tokens([text]) + 1
    assert max_tokens([text]) >= TextSize.from_texts([text]).upper_tokens(DEAREST_FAMILY)


@pytest.mark.parametrize("text", ["Fix the importer. " * 40, "修复导入程序" * 100, '{"a":1}' * 90])
def test_a_session_weighs_what_its_request_does(text: str, tmp_path: Path) -> None:
    script = TranscriptScript()
    script.prompt(text)
    script.say("Done.")
    path = tmp_path / "11111111-2222-4333-8444-555555555555.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in script.rows))
    session = ClaudeCodeSession.open(path)
    handoff = hand_off(session, target=HandoffTarget(model=MODELS["Claude"]))
    assert handoff.report.tokens == estimate_input_tokens(handoff.request)
    for piece in session.context(8_000).pieces:
        heading = piece.tokens - estimate_tokens(piece.text, DEAREST_FAMILY)
        assert heading == 13


def test_names_and_the_list_of_models_tell_the_same_family() -> None:
    for model in CATALOGUE.models:
        by_name, by_list = family_of(model.id), family_of("", model.tokenizer)
        known = {by_name, by_list} - {DEAREST_FAMILY}
        assert len(known) <= 1 or known == {FAMILIES["GPT"], FAMILIES["GPT-4"]}, model.id


@asynccontextmanager
async def open_door(folder: Path) -> AsyncGenerator[httpx.AsyncClient]:
    settings = Settings.load(
        {},
        base_url="http://127.0.0.1:9/api/v1",
        api_key="sk-or-v1-test",
        require_key=False,
        port=0,
        data_dir=folder,
    )
    async with (
        run_gateway(settings) as server,
        httpx.AsyncClient(base_url=server.url, timeout=60, trust_env=False) as client,
    ):
        yield client


@pytest.mark.parametrize("model", [*MODELS.values(), "claude-sonnet-4-5-20250929", "auto"])
async def test_the_door_counts_what_the_frame_says(model: str, tmp_path: Path) -> None:
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": 9,
        "system": "Be brief.",
        "messages": [{"role": "user", "content": 'Sum {"a": [1, 2, 3]} and 汉字.'}],
        "tools": [{"name": "add", "description": "Adds.", "input_schema": {"type": "object"}}],
    }
    request = get_dialect("anthropic_messages").decode_request(body, {})
    async with open_door(tmp_path) as client:
        reply = await client.post("/v1/messages/count_tokens", json=body)
    assert reply.json()["input_tokens"] == estimate_input_tokens(request)
    assert reply.json()["devflow"]["relative_error"] == family_of(model).error
