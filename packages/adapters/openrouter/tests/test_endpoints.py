"""Fetching who serves a model: bounded, never a failure, former answers kept."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from devflow_core.errors import KeyRefused, Overloaded
from devflow_core.messages import JsonObject
from devflow_core.ports import UpstreamKey
from devflow_openrouter.models import endpoints as subject
from devflow_openrouter.models.endpoints import decode_endpoints, fetch_endpoints
from devflow_routing.catalogue import Catalogue
from devflow_routing.endpoints import Endpoint, ModelEndpoints
from devflow_routing.model_config import ModelConfig

A, B = "acme/one", "acme/two"
LIST = Catalogue(
    [ModelConfig(id=A, canonical_slug="acme/one-2026"), ModelConfig(id=B)],
    version="1",
    fetched_at=datetime.now(UTC),
)


def row(tag: str, **fields: Any) -> JsonObject:
    return {
        "tag": tag,
        "provider_name": tag.title(),
        "model_id": A,
        "pricing": {"prompt": "0.000001", "completion": "0.000002", "request": "0"},
        "quantization": "fp8",
        **fields,
    }


class Upstream:
    """Answers by model: rows, another body, or an error."""

    def __init__(self, answers: Mapping[str, Any] = {}) -> None:
        self.answers = answers
        self.asked: list[tuple[str, bool]] = []
        self.running = self.most_at_once = 0

    async def endpoints(self, model: str, *, key: UpstreamKey | None = None) -> JsonObject:
        self.asked.append((model, key is not None))
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        answer = self.answers.get(model, Overloaded("Busy."))
        if answer is KeyRefused:
            if key is not None:
                raise KeyRefused("No.")
            answer = [row("deep")]
        if isinstance(answer, Exception):
            raise answer
        return {"data": {"endpoints": answer}} if isinstance(answer, list) else answer


async def fetch(
    upstream: Upstream,
    *models: str,
    former: Catalogue = LIST,
    retention: Any = None,
    key: UpstreamKey | None = None,
) -> Catalogue:
    document = await fetch_endpoints(upstream, models, retention=retention, former=former, key=key)
    return LIST.with_endpoints(decode_endpoints(orjson.loads(orjson.dumps(document))))


def tags(catalogue: Catalogue, model: str) -> list[str]:
    known = catalogue.endpoints.get(model)
    return [] if known is None else [one.tag for one in known.rows]


async def test_a_row_is_read_as_published() -> None:
    seconds, milliseconds = {"p50": 0.42, "p99": 9}, {"p50": 420.0}
    rows = [
        row("Deep/FP8", latency_last_30m=seconds, throughput_last_30m={"p50": 62}),
        row("deep/flex", latency_last_30m=milliseconds, quantization=None),
        row("odd", pricing="?", latency_last_30m={"p50": "soon"}, throughput_last_30m=None),
        {"provider_name": "without a tag"},
        "nonsense",
    ]
    first, tier, odd = (await fetch(Upstream({A: rows}), A)).endpoints[A].rows
    assert (first.tag, first.provider, first.quantization) == ("deep/fp8", "Deep/Fp8", "fp8")
    assert (str(first.prompt_usd), first.ttft_s, first.output_tokens_per_s) == (
        "0.000001",
        0.42,
        62.0,
    )
    assert (tier.is_tier, tier.ttft_s, tier.quantization) == (True, 0.42, "unknown")
    assert (odd.prompt_usd, odd.ttft_s, odd.output_tokens_per_s) == (None, None, None)


async def test_a_failure_keeps_the_former_answer_and_harms_no_other() -> None:
    before = await fetch(Upstream({A: [row("deep")], B: [row("fire")]}), A, B)
    answers: list[Any] = [Overloaded("Busy."), {"data": []}, {"data": {"endpoints": "none"}}]
    for broken in answers:
        after = await fetch(Upstream({A: broken, B: [row("new")]}), A, B, former=before)
        assert (tags(after, A), tags(after, B)) == (["deep"], ["new"])
    assert tags(await fetch(Upstream(), former=before), A) == ["deep"]
    old = ModelEndpoints(rows=before.endpoints[A].rows, asked_at=datetime.now(UTC) - timedelta(8))
    assert tags(await fetch(Upstream(), former=LIST.with_endpoints({A: old})), A) == []


async def test_at_most_so_many_are_asked_and_few_at_once() -> None:
    upstream = Upstream()
    await fetch(upstream, *(f"acme/{index}" for index in range(500)))
    assert len(upstream.asked) == subject.MAX_MODELS
    assert upstream.most_at_once == subject.MAX_AT_ONCE


async def test_the_deadline_keeps_what_has_come(loop_clock: Any) -> None:
    class Stuck(Upstream):
        async def endpoints(self, model: str, *, key: UpstreamKey | None = None) -> JsonObject:
            if model == B:
                await asyncio.Event().wait()
            return await super().endpoints(model, key=key)

    fetching = asyncio.create_task(fetch(Stuck({A: [row("deep")]}), A, B))
    took_s = await loop_clock.run_until(fetching.done, step_s=1.0)
    assert subject.DEADLINE_S <= took_s <= subject.DEADLINE_S + 2
    found = fetching.result()
    assert (tags(found, A), tags(found, B)) == (["deep"], [])


async def test_a_refused_key_is_no_obstacle() -> None:
    upstream = Upstream({A: KeyRefused})
    found = await fetch(upstream, A, key=UpstreamKey(secret="sk-or-v1-x", id="x", source="server"))
    assert upstream.asked == [(A, True), (A, False)]
    assert tags(found, A) == ["deep"]


async def test_what_keeps_nothing_is_marked_and_known_for_models_not_asked() -> None:
    # the list may call a model by its other name
    retention = {"data": [row("deep", model_id="acme/one-2026"), row("fire", model_id=B), 7]}
    found = await fetch(Upstream({A: [row("deep"), row("wide")]}), A, retention=retention)
    marks = {one.tag: one.is_zero_retention for one in found.endpoints[A].rows}
    assert marks == {"deep": True, "wide": False}
    assert found.endpoints[B].asked_at is None
    assert tags(found, B) == ["fire"]
    # without a new list the former one stays, and without any nothing is claimed
    assert tags(await fetch(Upstream(), former=found), B) == ["fire"]
    (unknown,) = (await fetch(Upstream({A: [row("deep")]}), A)).endpoints[A].rows
    assert unknown.is_zero_retention is None
    assert unknown == Endpoint(
        tag="deep",
        provider="Deep",
        quantization="fp8",
        prompt_usd=unknown.prompt_usd,
        completion_usd=unknown.completion_usd,
    )
