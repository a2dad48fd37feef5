"""Rows of `GET /benchmarks` in the shape that OpenRouter's API document gives them."""

from datetime import date, datetime
from typing import Any

import pytest
from devflow_core.errors import ConfigurationError, KeyRefused, ProtocolError
from devflow_core.messages import JsonObject
from devflow_core.ports import UpstreamKey
from devflow_openrouter.models.benchmark_rows import BENCHMARKS, read_rows
from devflow_openrouter.models.evidence import decode_evidence, fetch_evidence
from devflow_routing.evidence.scores import load_shipped_evidence

PRICES = {"prompt": "0.0000025", "completion": "0.00001"}
INDEX: JsonObject = {
    "source": "artificial-analysis",
    "model_permaslug": "anthropic/claude-4.8-opus-20260528",
    "display_name": "Claude Opus 4.8 (Adaptive Reasoning, Max Effort)",
    "intelligence_index": 71.2,
    "coding_index": 65.8,
    "agentic_index": None,
    "pricing": PRICES,
}
ARENA: JsonObject = {
    "source": "design-arena",
    "model_permaslug": "anthropic/claude-4.8-opus-20260528",
    "display_name": "Claude Opus 4.8",
    "arena": "models",
    "category": "codecategories",
    "elo": 1423,
    "win_rate": 72,
    "avg_generation_time_ms": 3200,
    "tournament_stats": {
        "first_place": 12, "second_place": 8, "third_place": 5, "fourth_place": 2, "total": 27,
    },
    "pricing": PRICES,
}  # fmt: skip
RUN: JsonObject = {
    "source": "openrouter",
    "model_permaslug": "openai/gpt-4o",
    "display_name": "GPT-4o",
    "benchmark_type": "gpqa_diamond",
    "accuracy": 0.72,
    "accuracy_stddev": 0.03,
    "avg_cost_per_task": 0.002,
    "total_tasks": 300,
    "last_run_timestamp": "2026-06-03T12:00:00Z",
}
SEARCH: JsonObject = {
    "source": "openrouter",
    "model_permaslug": "openai/gpt-4o",
    "display_name": "GPT-4o",
    "benchmark_type": "search_browsecomp",
    "primary_metric": "accuracy",
    "primary_score": 0.72,
    "total_tasks": 100,
    "avg_cost_per_task": 0.031,
    "avg_latency_per_task_ms": 45210,
    "search_engine": "exa",
    "search_surface": "server-tool",
    "last_run_timestamp": "2026-07-28T13:38:18Z",
}


def body(*rows: Any, citation: str | None = None) -> JsonObject:
    return {
        "data": list(rows),
        "meta": {
            "as_of": "2026-10-03T12:00:00Z",
            "version": "v1",
            "source": None,
            "source_url": None,
            "citation": citation,
            "model_count": 1,
            "task_type": None,
        },
    }


class Api:
    """Answers with a body, or refuses the keys that it does not know."""

    def __init__(self, answer: JsonObject, refused: tuple[str, ...] = ()) -> None:
        self.answer, self.refused = answer, refused
        self.asked: list[str] = []

    async def benchmarks(self, *, key: UpstreamKey | None = None) -> JsonObject:
        assert key is not None
        self.asked.append(key.id)
        if key.id in self.refused:
            raise KeyRefused("OpenRouter refuses the key.")
        return self.answer


KEYS = [UpstreamKey(id=name, secret=f"sk-{name}", source="server") for name in ("one", "two")]


def test_each_source_is_read_with_its_date_and_effort() -> None:
    found = {one.benchmark: one for one in read_rows(body(INDEX, ARENA, RUN, SEARCH))}
    assert set(found) == {"aa-intelligence", "aa-coding", "arena-codecategories", "or-gpqa-diamond"}
    assert found["aa-coding"].value == 65.8
    assert found["aa-coding"].model == INDEX["model_permaslug"]
    assert found["aa-coding"].effort == "Adaptive Reasoning, Max Effort"
    assert found["aa-coding"].shown_as == INDEX["display_name"]
    assert found["aa-coding"].date == date(2026, 10, 3)
    assert found["or-gpqa-diamond"].value == 0.72
    assert found["or-gpqa-diamond"].date == date(2026, 6, 3)
    assert {one.benchmark for one in found.values()} <= {one.key for one in BENCHMARKS}


@pytest.mark.parametrize(
    "row",
    [
        {**RUN, "accuracy_stddev": 0.124},
        {**RUN, "accuracy": 1.2},
        {**RUN, "accuracy": True},
        {**RUN, "accuracy": "0.7"},
        {**RUN, "model_permaslug": None},
        {**RUN, "model_permaslug": "x" * 1_000},
        {**RUN, "benchmark_type": ["gpqa_diamond"]},
        {**INDEX, "coding_index": float("nan"), "intelligence_index": None},
        {**ARENA, "arena": "agents"},
        {**ARENA, "category": {}},
        {**ARENA, "category": "image"},
        {"source": "somebody-else", "model_permaslug": "a/b", "accuracy": 0.5},
        "not a row",
        None,
    ],
)
def test_broken_runs_and_rows_of_another_kind_are_left_out(row: object) -> None:
    assert read_rows(body(row)) == []


def test_a_body_of_another_kind_has_no_scores() -> None:
    for other in ({}, {"data": None}, {"data": {"a": 1}, "meta": 5}):
        assert read_rows(other) == []


async def test_what_was_fetched_is_read_again_from_its_document() -> None:
    document = await fetch_evidence(Api(body(INDEX, ARENA, RUN)), KEYS)
    evidence = decode_evidence(document)
    assert evidence.is_fetched
    assert not evidence.is_invented
    assert evidence.as_of == datetime.fromisoformat(document["fetched_at"])
    assert evidence.scores[: len(load_shipped_evidence().scores)] == load_shipped_evidence().scores
    assert [one.value for one in evidence.scores[-4:]] == [65.8, 71.2, 1423.0, 0.72]
    assert evidence.version.startswith(load_shipped_evidence().version + "+")


async def test_invented_scores_say_so_wherever_they_are_shown() -> None:
    document = await fetch_evidence(Api(body(RUN, citation="Invented by the stand-in")), KEYS)
    evidence = decode_evidence(document)
    assert evidence.is_invented
    assert "invented" in evidence.version
    assert "invented" in evidence.benchmarks["or-gpqa-diamond"].publisher


async def test_the_next_key_is_asked_where_one_is_refused() -> None:
    api = Api(body(RUN), refused=("one",))
    assert await fetch_evidence(api, KEYS)
    assert api.asked == ["one", "two"]


async def test_no_key_a_refused_one_and_an_empty_answer_are_errors_that_say_so() -> None:
    with pytest.raises(ConfigurationError, match="none is set"):
        await fetch_evidence(Api(body(RUN)), [])
    with pytest.raises(KeyRefused):
        await fetch_evidence(Api(body(RUN), refused=("one", "two")), KEYS)
    with pytest.raises(ProtocolError, match="no scores"):
        await fetch_evidence(Api(body()), KEYS)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"is_invented": False, "fetched_at": "yesterday", "scores": []},
        {"is_invented": False, "fetched_at": "2026-10-03T12:00:00+00:00", "scores": [[1, 2]]},
        {"is_invented": False, "fetched_at": "2026-10-03T12:00:00+00:00", "scores": None},
    ],
)
def test_another_document_is_an_error(document: JsonObject) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        decode_evidence(document)
