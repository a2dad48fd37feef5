"""A key rests for what it was limited for, and serves everything else meanwhile."""

import asyncio

import pytest
from devflow_core.errors import (
    KeyRefused,
    KeysExhausted,
    PaymentRequired,
    RateLimited,
    StillLimited,
    UpstreamError,
)
from devflow_core.testing import FakeClock
from devflow_upstream import KeyPool
from devflow_upstream.key_slot import _MAX_RESTS
from devflow_upstream.limits import LimitRules

RULES = LimitRules(
    shared=frozenset({"pool"}),
    of_key=frozenset({"of the key"}),
    of_models={"of the free": lambda model: model.endswith(":free")},
)
ONE, TWO, FREE, OTHER_FREE = "a/one", "b/two", "a/one:free", "b/two:free"
KEY_ERRORS = [
    KeyRefused("no", status=401),
    PaymentRequired("no", status=402),
    RateLimited("no", status=429, error_type="of the key", retry_after_s=1.0),
]


def limited(kind: str | None = None, wait_s: float | None = 60.0) -> RateLimited:
    return RateLimited("Slow down.", status=429, error_type=kind, retry_after_s=wait_s, detail="x")


def a_pool(*secrets: str) -> tuple[KeyPool, FakeClock]:
    clock = FakeClock()
    return KeyPool(secrets or ("sk-a",), limits=RULES, clock=clock, chance=lambda: 0.0), clock


def usable(pool: KeyPool) -> set[str]:
    """The models that a key can be had for; asked of a pool that probes nothing."""
    return {model for model in (ONE, TWO, FREE, OTHER_FREE) if pool.pick(model) is not None}


@pytest.mark.parametrize(
    ("kind", "met_by", "left"),
    [
        (None, ONE, {TWO, FREE, OTHER_FREE}),
        ("a word that is new", ONE, {TWO, FREE, OTHER_FREE}),
        ("of the free", FREE, {ONE, TWO}),
        ("of the free", ONE, {TWO, FREE, OTHER_FREE}),  # said of a paid model, it is that model's
        ("of the key", ONE, set[str]()),
        ("pool", ONE, {ONE, TWO, FREE, OTHER_FREE}),
    ],
)
def test_a_limit_keeps_a_key_from_what_it_is_a_limit_of(
    kind: str | None, met_by: str, left: set[str]
) -> None:
    pool, clock = a_pool()
    assert pool.record_failure(pool.keys[0], limited(kind), met_by) == (kind != "pool")
    assert usable(pool) == left
    clock.advance(60.0)
    assert usable(pool) == {ONE, TWO, FREE, OTHER_FREE} - (
        {TWO, FREE, OTHER_FREE} if kind == "of the key" else {OTHER_FREE} & {FREE}
    ) - ({OTHER_FREE} if kind == "of the free" and met_by == FREE else set[str]())


@pytest.mark.parametrize("error", KEY_ERRORS)
def test_what_a_key_is_refused_for_keeps_it_from_every_model(error: UpstreamError) -> None:
    pool, clock = a_pool()
    pool.record_failure(pool.keys[0], error, ONE)
    assert usable(pool) == set()
    assert isinstance(pool.exhausted_error(TWO), KeysExhausted)
    clock.advance(1.0)
    assert pool.pick(TWO) is not None  # whichever model comes first finds out
    assert pool.pick(ONE) is None
    pool.mark_good(pool.keys[0], TWO)
    assert usable(pool) == {ONE, TWO, FREE, OTHER_FREE}


def test_keys_rotate_for_a_model_whose_limit_some_have_met() -> None:
    pool, _ = a_pool("sk-a", "sk-b", "sk-c")
    pool.record_failure(pool.keys[1], limited(), ONE)
    chosen = [pool.pick(ONE) for _ in range(4)]
    assert [one.secret for one in chosen if one] == ["sk-a", "sk-c", "sk-a", "sk-c"]
    chosen = [pool.pick(TWO) for _ in range(3)]
    assert [one.secret for one in chosen if one] == ["sk-a", "sk-b", "sk-c"]


def test_who_finds_no_key_for_a_model_is_told_when_one_is_back() -> None:
    pool, clock = a_pool("sk-a", "sk-b")
    for key, wait_s in zip(pool.keys, (60.0, 40.0), strict=True):
        pool.record_failure(key, limited(wait_s=wait_s), ONE)
    clock.advance(10.0)
    error = pool.exhausted_error(ONE)
    assert isinstance(error, StillLimited)
    assert (error.status_hint, error.retry_after_s) == (429, 30.0)
    assert error.message.startswith("a/one is over its limit")
    assert "another model" in error.message


def test_a_key_that_is_refused_hides_no_other_that_is_only_limited() -> None:
    pool, _ = a_pool("sk-a", "sk-b")
    pool.record_failure(pool.keys[0], KeyRefused("no", status=401), ONE)
    pool.record_failure(pool.keys[1], limited(), ONE)
    assert isinstance(pool.exhausted_error(ONE), StillLimited)
    chosen = pool.pick(TWO)
    assert chosen == pool.keys[1]


def test_a_limit_of_a_model_proves_that_the_key_is_good() -> None:
    pool, clock = a_pool()
    (key,) = pool.keys
    pool.record_failure(key, KeyRefused("no", status=401), ONE)
    clock.advance(1.0)
    assert pool.pick(ONE) == key
    pool.record_failure(key, limited(), ONE)
    assert usable(pool) == {TWO, FREE, OTHER_FREE}


def test_a_key_that_is_refused_while_a_limit_is_looked_at_lets_it_be_looked_at_again() -> None:
    pool, clock = a_pool()
    (key,) = pool.keys
    pool.record_failure(key, limited(wait_s=1.0), ONE)
    clock.advance(1.0)
    assert pool.pick(ONE) == key
    pool.record_failure(key, KeyRefused("no", status=401), ONE)
    clock.advance(1.0)
    assert pool.pick(ONE) == key


def test_the_state_of_a_key_names_what_it_rests_for() -> None:
    pool, clock = a_pool()
    pool.record_failure(pool.keys[0], limited("of the free"), FREE)
    pool.record_failure(pool.keys[0], limited(wait_s=9.0), ONE)
    clock.advance(4.0)
    (state,) = pool.status()
    assert (state.cool_down_s, state.reason) == (0.0, None)
    assert state.limited_s == {"of the free": 56.0, ONE: 5.0}


def test_what_is_remembered_of_a_key_is_bounded() -> None:
    pool, _ = a_pool()
    for number in range(_MAX_RESTS + 50):
        pool.record_failure(pool.keys[0], limited(), f"a/model-{number}")
    assert len(pool.status()[0].limited_s) == _MAX_RESTS
    assert pool.pick(f"a/model-{_MAX_RESTS + 49}") is None


async def test_nobody_waits_for_a_model_while_another_stands_ready() -> None:
    pool = KeyPool(["sk-a"], limits=RULES)
    pool.record_failure(pool.keys[0], limited(wait_s=1.0), ONE)
    async with asyncio.timeout(0):
        assert await pool.wait_for_key(ONE, 60.0, is_last=False) is None


async def test_for_a_key_that_rests_wholly_a_call_waits_whoever_stands_ready() -> None:
    pool = KeyPool(["sk-a"], limits=RULES, chance=lambda: 0.0)
    pool.record_failure(pool.keys[0], KeyRefused("no", status=401), ONE)
    async with asyncio.timeout(30):
        assert await pool.wait_for_key(ONE, 60.0, is_last=False) is not None
