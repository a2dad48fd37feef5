"""Laws of what the choice keeps between requests: nothing that is kept may change a decision.

The references are plain: a router that has seen nothing before, features counted byte by byte, and
the performance of each model asked for by itself.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import cache
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import pytest
from devflow_core.attribution import Attribution
from devflow_core.errors import DevFlowError
from devflow_core.request import ChatRequest, Tool
from devflow_core.routing import SelectionCriteria, Task
from devflow_core.testing import EPOCH, an_attempt, an_entry
from devflow_core.usage import Usage
from devflow_openrouter.models.catalogue import load_shipped_catalogue
from devflow_routing import PerformanceTracker, Router, TaskClassifier, route_as_json
from devflow_routing.ability import TASK_TYPES
from devflow_routing.classifier.features import BUCKETS, EDGE_WORDS, STEM_BYTES, extract_features
from devflow_routing.live_speeds import LiveSpeeds
from devflow_routing.model_selector import ModelSelector
from devflow_routing.trackers.performance import MAX_VIEW_AGE_S
from hypothesis import given
from hypothesis import strategies as st

MODES = ("auto", "auto:cheap", "auto:fast", "auto:best", "auto:verified", "openai/*", "anthropic/*")
SESSIONS = ("s0", "s1", "unknown")
MODELS = [one.id for one in load_shipped_catalogue().models]


def observe(router: Router, chance: Random, *, at_s: float) -> None:
    """Let a router see how one call went."""
    attempt = an_attempt(
        model=chance.choice(MODELS[:60]),
        started_at=EPOCH + timedelta(seconds=at_s),
        ttft_s=chance.uniform(0.1, 80),
        total_s=100.0,
        usage=Usage(output_tokens=chance.randrange(20, 4_000)),
    )
    if chance.random() < 0.3:
        attempt = replace(attempt, outcome="failed", error_code="upstream_overloaded", ttft_s=None)
    session = Attribution(
        session_id=chance.choice(SESSIONS[:2]), agent=chance.choice((None, "main"))
    )
    router.record(an_entry(attempts=(attempt,), attribution=session))


def invent_request(chance: Random) -> ChatRequest:
    """A request of any length, with any of what a choice depends on."""
    words = chance.choice((1, 5, 300, 3_000, 60_000))
    return replace(
        ChatRequest.from_text("word, 12! " * words, model=chance.choice(MODES)),
        tools=chance.choice(((), (Tool(name="read"),))),
        max_output_tokens=chance.choice((None, None, 100, 30_000)),
        allowed_models=chance.choice((None, None, ("openai/*", "google/*"))),
        extra=chance.choice(({}, {}, {"provider": {"zdr": True}}, {"models": ["openai/*"]})),
        criteria=SelectionCriteria(
            cost_priority=chance.choice((None, 0.0, 0.9)),
            quality_floor=chance.choice((None, None, 0.8)),
            allow_free=chance.choice((None, True)),
        ),
        attribution=Attribution(
            session_id=chance.choice(SESSIONS), agent=chance.choice((None, "main"))
        ),
    )


def invent_task(chance: Random) -> Task:
    kinds = chance.sample(TASK_TYPES, 3)
    shares = (0.6, 0.3, 0.1)
    return Task(
        type=kinds[0],
        complexity=chance.choice(("low", "medium", "high")),
        confidence=0.6,
        difficulty=round(chance.uniform(0.02, 0.98), 4),
        domains=chance.choice(((), tuple(zip(kinds, shares, strict=True)))),
    )


def decide(router: Router, request: ChatRequest, task: Task) -> dict[str, Any] | str:
    try:
        return route_as_json(router.route(request, task))
    except DevFlowError as error:
        return f"{type(error).__name__}: {error}"


@pytest.mark.parametrize("seed", range(2))
def test_a_router_decides_as_one_that_has_kept_nothing(seed: int) -> None:
    chance, now_s = Random(seed), [0.0]  # noqa: S311 - no secret
    catalogue = load_shipped_catalogue()
    router = Router(catalogue, clock=lambda: EPOCH + timedelta(seconds=now_s[0]))
    for step in range(24):
        now_s[0] = step / 1_000  # what is kept of the past has not faded yet
        if step % 3 == 0:
            observe(router, chance, at_s=-chance.uniform(0, 25))
        request, task = invent_request(chance), invent_task(chance)
        kept = decide(router, request, task)
        router.set_catalogue(catalogue)
        assert decide(router, request, task) == kept


@pytest.mark.parametrize("seed", range(3))
def test_speeds_follow_the_performance_model_by_model(seed: int) -> None:
    chance = Random(seed)  # noqa: S311 - no secret
    selector = ModelSelector(load_shipped_catalogue())
    router = Router(selector.catalogue)
    followed = LiveSpeeds(selector)
    for step in range(80):
        now = EPOCH + timedelta(seconds=step * 3)
        observe(router, chance, at_s=step * 3.0)
        view = router.performance.view(as_of=now)
        got, wanted = followed.at(view), LiveSpeeds(selector).at(view)
        for name in ("answer_rates", "ttft_s", "tokens_per_s", "is_measured"):
            assert np.array_equal(getattr(got, name), getattr(wanted, name)), name
        assert np.allclose(got.reliability, wanted.reliability, rtol=1e-15)


def test_a_view_tells_what_each_model_tells() -> None:
    chance, router = Random(1), Router(load_shipped_catalogue())  # noqa: S311
    tracker = router.performance
    for step in range(200):
        now = EPOCH + timedelta(seconds=step * 5)
        observe(router, chance, at_s=step * 5.0)
        view = tracker.view(as_of=now)
        for name, one in view.known.items():
            alone = tracker.snapshot(name, as_of=now)
            assert alone is not None
            assert one.is_resting == alone.is_resting == (name in view.resting)
            assert one.ttft_p50_s == alone.ttft_p50_s
            assert math.isclose(one.success_rate, alone.success_rate, rel_tol=0.01)


def test_a_view_is_the_same_until_something_changes() -> None:
    tracker = PerformanceTracker()
    tracker.record(an_entry())
    view = tracker.view(as_of=EPOCH)
    assert tracker.view(as_of=EPOCH + timedelta(seconds=MAX_VIEW_AGE_S - 1)) is view
    later = tracker.view(as_of=EPOCH + timedelta(seconds=MAX_VIEW_AGE_S))
    model = an_attempt().model
    assert later.known[model].weight < view.known[model].weight
    tracker.record(an_entry())
    assert tracker.view(as_of=EPOCH + timedelta(seconds=MAX_VIEW_AGE_S)) is not later


MULTIPLIER, MASK = 0x9E3779B97F4A7C15, (1 << 64) - 1
MIX, PAIR = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
EDGE, STEM = 0xD6E8FEB86659FD93, 0x1234567


def split_words(raw: bytes) -> Iterator[bytes]:
    """Words as a reader would split them; a character of three bytes or more is one by itself."""
    word = b""
    for at in range(len(raw)):
        byte = raw[at : at + 1]
        is_word = byte.isalnum() or byte == b"_" or byte >= b"\x80"
        if word and (not is_word or byte >= b"\xe0"):
            yield word
            word = b""
        if is_word:
            word += byte
    if word:
        yield word


@cache
def hash_word(word: bytes) -> int:
    folded = word.lower()
    return sum((byte + 1) * pow(MULTIPLIER, at, 1 << 64) for at, byte in enumerate(folded)) & MASK


def bucket_of(value: int) -> int:
    value = (value ^ value >> 32) * MIX & MASK
    return ((value ^ value >> 32) * PAIR & MASK) >> 64 - BUCKETS.bit_length() + 1


def plain_cues(text: str) -> tuple[list[int], set[int], set[int]]:
    """The hashes of words and pairs, their buckets, and the buckets of the cues."""
    found = list(split_words(text.encode("utf-8", "replace")))
    words = [hash_word(one) for one in found]
    stems = [(hash_word(one[:STEM_BYTES]) + STEM * (len(one) > STEM_BYTES)) & MASK for one in found]
    pairs = [(one * PAIR + other) & MASK for one, other in pairwise(words)]
    cues = {*map(bucket_of, words), *map(bucket_of, stems)}
    for kind in (words, stems, pairs):
        cues |= {bucket_of(one * EDGE & MASK) for one in (*kind[:EDGE_WORDS], *kind[-EDGE_WORDS:])}
    return words + pairs, set(map(bucket_of, words + pairs)), cues


@given(
    st.text(
        st.one_of(st.sampled_from("abC XYZ_09 .,?\n  "), st.sampled_from("éßü解釈日🙂\ud800")),
        max_size=120,
    )
)
def test_features_are_those_that_a_reader_counts(text: str) -> None:
    found = extract_features(text)
    hashes, words, cues = plain_cues(text)
    assert found.hashes.tolist() == hashes
    assert found.words.tolist() == sorted(words)
    assert found.cues.tolist() == sorted(cues)


def test_a_classifier_that_remembers_finds_what_one_that_does_not_finds() -> None:
    texts = (
        "Fix the failing test in login.py",
        "翻译成英文",
        "",
        "Beweise, dass √2 irrational ist",
    )
    remembering, forgetful = TaskClassifier(), TaskClassifier(cache_size=0)
    for text in (*texts, *texts):
        request = ChatRequest.from_text(text)
        assert remembering.classify(request) == forgetful.classify(request)
