"""Evidence: how scores are joined to models, put on one scale, and left out when broken."""

import gzip
import json
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from devflow_openrouter.models.catalogue import load_shipped_catalogue
from devflow_routing import ModelConfig
from devflow_routing.capabilities import Capability
from devflow_routing.evidence.benchmarks import Benchmark
from devflow_routing.evidence.efforts import effort_name, excess_of_effort
from devflow_routing.evidence.joins import names_agree
from devflow_routing.evidence.posterior import Abilities, infer_abilities
from devflow_routing.evidence.readings import find_readings, group_models
from devflow_routing.evidence.scores import Evidence, Score, load_shipped_evidence

NOW = datetime(2026, 11, 28, tzinfo=UTC)
INDEX = Benchmark(
    key="index", name="Index", publisher="a board", kind="coding", unit="points", loading=0.9,
    noise=0.15,
)  # fmt: skip


@cache
def models() -> tuple[ModelConfig, ...]:
    return group_models([one for one in load_shipped_catalogue().models if not one.alias_of])[0]


@cache
def place_of(model: str) -> int:
    return [one.id for one in models()].index(model)


def infer(evidence: Evidence) -> Abilities:
    return infer_abilities(models(), find_readings(models(), evidence), evidence)


@cache
def shipped() -> Abilities:
    return infer(load_shipped_evidence())


def index_of(ability: float) -> float:
    return 30 + 12 * ability


def board(**changed: float) -> list[Score]:
    """An index of all measured models that says what is known of them already."""
    known = shipped()
    chosen = np.flatnonzero(known.is_measured).tolist()
    return [
        Score(
            model=models()[at].id,
            benchmark="index",
            value=float(changed.get(models()[at].id, index_of(known.mean[at, 0]))),
        )
        for at in chosen
    ]


def with_board(scores: list[Score]) -> Abilities:
    return infer(load_shipped_evidence().with_fetched(scores, [INDEX], fetched_at=NOW))


def test_a_board_of_unknown_scale_tells_a_model_that_nobody_else_measured() -> None:
    newcomer = "minimax/minimax-m3"
    assert not shipped().is_measured[place_of(newcomer)]
    found = [
        with_board([*board(), Score(model=newcomer, benchmark="index", value=index_of(one))])
        for one in (-1.0, 1.5)
    ]
    guess = shipped().mean[place_of(newcomer), 0]
    for ability, one in zip((-1.0, 1.5), found, strict=True):
        told = one.mean[place_of(newcomer), 0]
        assert abs(told - ability) < 0.7 * abs(guess - ability)
        assert one.is_measured[place_of(newcomer)]


def test_a_rebased_board_says_the_same() -> None:
    newcomer = Score(model="minimax/minimax-m3", benchmark="index", value=index_of(1.0))
    rows = [*board(), newcomer]
    moved = [replace(one, value=0.6 * one.value - 20) for one in rows]
    assert with_board(moved).mean == pytest.approx(with_board(rows).mean, abs=1e-6)


def test_two_states_are_never_mixed() -> None:
    evidence = load_shipped_evidence()
    july = evidence.with_fetched(board(), [INDEX], fetched_at=NOW)
    # what is fetched later is added to the shipped scores, not to what was fetched before
    october = evidence.with_fetched(
        [replace(one, value=one.value - 16) for one in board()], [INDEX], fetched_at=NOW
    )
    assert len(july.scores) == len(october.scores)
    assert july.version != october.version


def test_a_broken_run_is_left_out() -> None:
    weak = "meta-llama/llama-3.1-8b-instruct"
    at = place_of(weak)
    sane = with_board(board())
    broken = with_board(board(**{weak: index_of(2.0)}))
    assert sane.mean[at, 0] < -1.0
    assert broken.mean[at, 0] == pytest.approx(shipped().mean[at, 0], abs=0.1)


def test_a_board_of_a_few_models_is_not_used() -> None:
    few = with_board([one for one in board() if one.model.startswith("anthropic/")][:8])
    assert few.mean == pytest.approx(shipped().mean)


@pytest.mark.parametrize(
    ("shown", "model", "agrees"),
    [
        ("K2 Think V2", "moonshotai/kimi-k2-thinking", False),
        ("Kimi K2 Thinking", "moonshotai/kimi-k2-thinking", True),
        ("Command A+", "cohere/command-a", False),
        ("Command A", "cohere/command-a", True),
        ("Hy3", "tencent/hy3-preview", False),
        ("Hy3", "tencent/hy3", True),
        ("GPT-5.2 Codex (xhigh)", "openai/gpt-5.2", False),
        ("GPT-5.2 (xhigh)", "openai/gpt-5.2", True),
        ("Claude 4.5 Sonnet (Non-reasoning)", "anthropic/claude-sonnet-4.5", True),
        ("Claude Opus 4.8 (Adaptive Reasoning, Max Effort)", "anthropic/claude-opus-4.8", True),
        ("Claude Opus 4.7 (max)", "anthropic/claude-opus-4.8", False),
        ("Qwen3 VL 30B A3B (Reasoning)", "qwen/qwen3-vl-30b-a3b-thinking", True),
        ("Qwen3 Max (Preview)", "qwen/qwen3-max", True),
        ("Nova 2.0 Lite (low)", "amazon/nova-2-lite-v1", True),
        ("Gemini 2.5 Flash-Lite", "google/gemini-2.5-flash", False),
        ("", "openai/gpt-5", True),
    ],
)
def test_scores_joined_to_another_model_are_told_by_the_name(
    shown: str, model: str, agrees: bool
) -> None:
    assert names_agree(shown, load_shipped_catalogue().find(model)) is agrees


def test_the_devstral_before_the_second_is_not_the_second() -> None:
    first = ModelConfig(id="mistralai/devstral-small-2507", name="Mistral: Devstral Small 1.1")
    assert not names_agree("Devstral Small 2", first)


def test_a_score_of_another_name_is_not_the_models() -> None:
    row = Score(model="cohere/command-a", benchmark="index", value=90.0, shown_as="Command A+")
    evidence = Evidence(scores=(row,), benchmarks={"index": INDEX})
    assert not find_readings(models(), evidence)[place_of("cohere/command-a")]
    plain = replace(evidence, scores=(replace(row, shown_as="Command A"),))
    assert find_readings(models(), plain)[place_of("cohere/command-a")]


def test_fetched_scores_are_found_by_the_canonical_slug() -> None:
    opus = load_shipped_catalogue().find("anthropic/claude-opus-4.8")
    row = Score(model=opus.canonical_slug, benchmark="index", value=50.0)
    evidence = Evidence(scores=(row,), benchmarks={"index": INDEX})
    assert find_readings(models(), evidence)[place_of(opus.id)]


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ("gpt-5-2025-08-07_high", "high effort"),
        ("Adaptive Reasoning, Max Effort", "highest effort"),
        ("Non-reasoning, High Effort", "without reasoning"),
        ("claude-opus-4-20250514 (no think)", "without reasoning"),
        ("claude-haiku-4-5-20251001_32K", "high effort"),
        ("gpt-5 (medium)", "medium effort"),
        ("mistral-medium-2505", ""),
        ("effort not stated; submitted by Anthropic", ""),
    ],
)
def test_efforts_are_read_from_settings(setting: str, name: str) -> None:
    assert effort_name(setting) == name


def test_a_score_at_the_highest_effort_counts_less_for_a_model_that_answers_at_once() -> None:
    plain = ModelConfig(id="a/b", capabilities=Capability.REASONING)
    thinking = replace(plain, reasons_by_default=True)
    assert excess_of_effort("max", plain) > excess_of_effort("max", thinking) > 0
    assert excess_of_effort("", plain) == excess_of_effort("max", ModelConfig(id="a/b")) == 0


def test_the_score_nearest_to_the_usual_effort_is_used() -> None:
    rows = tuple(
        Score(model="openai/gpt-5", benchmark="index", value=value, effort=effort)
        for effort, value in (("high", 60.0), ("minimal", 20.0), ("medium", 50.0))
    )
    evidence = Evidence(scores=rows, benchmarks={"index": INDEX})
    (reading,) = find_readings(models(), evidence)[place_of("openai/gpt-5")]
    assert reading.score.value == 50.0


def test_shipped_scores_have_a_benchmark_and_a_date_or_say_none() -> None:
    evidence = load_shipped_evidence()
    assert {one.benchmark for one in evidence.scores} == set(evidence.benchmarks)
    assert all(0 <= one.value <= 1 for one in evidence.scores)
    assert max(one.date for one in evidence.scores if one.date) <= date(2026, 11, 28)


def test_no_scores_at_all_leave_every_model_unknown() -> None:
    nothing = infer(Evidence())
    assert not nothing.is_measured.any()
    assert np.isfinite(nothing.mean).all()


def test_what_ships_is_openly_licensed_and_named_with_its_origin() -> None:
    data = Path(__file__).parents[3] / "benchmarks" / "data" / "routing"
    manifest = (data / "MANIFEST.md").read_text(encoding="utf-8")
    with gzip.open(data / "open_scores.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    assert {one["licence"] for one in rows} == {"CC BY 4.0", "MIT", "Apache-2.0"}
    for source in {one["source"] for one in rows}:
        assert source.partition(",")[0] in manifest, source
    forbidden = ("swe", "alpaca", "routerarena", "flask", "alignbench", "livebench 20", "arena")
    assert not [one for one in rows if any(word in one["benchmark"] for word in forbidden)]
    collected = sorted((one["model"], one["benchmark"], one["setting"]) for one in rows)
    shipped = load_shipped_evidence().scores
    assert sorted((one.model, one.benchmark, one.effort) for one in shipped) == collected
