"""Which key a call goes out with, and what happens to one that is refused."""

import asyncio
from typing import Any

import pytest
from devflow_core.errors import ConfigurationError, KeyRefused, KeysExhausted
from devflow_core.settings import Settings
from devflow_core.testing import FakeClock, a_request
from devflow_openrouter.client.auth import build_key_pool
from devflow_openrouter.testing import (
    CANARY,
    GatewayHarness,
    ScriptedUpstream,
    error_reply,
    streamed_reply,
)
from devflow_upstream import KeyPool
from devflow_upstream.keys import key_id

POOL = ["sk-or-v1-canary-a", "sk-or-v1-canary-b", "sk-or-v1-canary-c"]


def key_pool(*pool: str, single: str | None = None, clock: FakeClock | None = None) -> KeyPool:
    return KeyPool(pool, single, clock=clock or FakeClock(), chance=lambda: 0.0)


def bearers(upstream: ScriptedUpstream) -> list[str]:
    heads = [request.partition(b"\r\n\r\n")[0].decode() for request in upstream.requests]
    return [head.split("Authorization: Bearer ")[1].split("\r\n")[0][-1] for head in heads]


def picked(keys: KeyPool) -> str | None:
    key = keys.pick()
    return key.secret if key else None


def test_the_pool_is_used_in_turn_and_the_single_key_after_it() -> None:
    keys = key_pool(*POOL, single="sk-single")
    assert [picked(keys) for _ in range(6)] == POOL * 2
    for secret in POOL:
        key = keys.pick()
        assert key is not None
        keys.cool_down(key, 60.0, "x")
        assert secret in POOL
    assert [picked(keys) for _ in range(2)] == ["sk-single"] * 2


def test_a_key_that_comes_back_is_tried_by_one_call_only() -> None:
    clock = FakeClock()
    keys = key_pool("sk-a", clock=clock)
    key = keys.pick()
    assert key is not None
    keys.cool_down(key, 60.0, "upstream_payment_required")
    assert keys.pick() is None
    clock.advance(60.0)
    assert keys.pick() == key
    assert keys.pick() is None
    keys.mark_good(key)
    assert keys.pick() == keys.pick() == key


def test_a_probe_that_never_comes_back_lets_another_try() -> None:
    clock = FakeClock()
    keys = key_pool("sk-a", clock=clock)
    key = keys.pick()
    assert key is not None
    keys.cool_down(key, 60.0, "x")
    clock.advance(60.0)
    assert keys.pick() is not None
    keys.release(key)
    assert keys.pick() is not None
    clock.advance(5.0)
    assert keys.pick() is not None


@pytest.mark.parametrize("pool", [["sk-a"], ["sk-a", "sk-b"]])
@pytest.mark.parametrize("status", [401, 402])
def test_a_refused_key_is_probed_after_a_second_and_then_ever_later(
    pool: list[str], status: int
) -> None:
    clock = FakeClock()
    keys = key_pool(*pool, clock=clock)
    (key, *_), refusal = keys.keys, KeyRefused("no", status=status)
    rests: list[float] = []
    for _ in range(8):
        assert keys.record_failure(key, refusal)
        rests.append(keys.status()[0].cool_down_s)
        clock.advance(rests[-1])
        found = [one for one in (keys.pick() for _ in range(20)) if one == key]
        assert len(found) == 1  # one call finds out
    assert rests == [1, 2, 4, 8, 16, 30, 30, 30]
    keys.mark_good(key)
    keys.record_failure(key, refusal)
    assert keys.status()[0].cool_down_s == 1


def test_keys_are_exchanged_without_a_restart_and_keep_their_cool_downs() -> None:
    keys = key_pool("sk-a", "sk-b")
    key = keys.pick()
    assert key is not None
    keys.cool_down(key, 60.0, "x")
    keys.set_keys(["sk-a", "sk-c"], "sk-d")
    assert [picked(keys) for _ in range(2)] == ["sk-c"] * 2
    assert [state.source for state in keys.status()] == ["pool", "pool", "single"]
    assert [state.cool_down_s for state in keys.status()] == [60.0, 0.0, 0.0]
    assert keys.status()[0].reason == "x"


def test_nothing_that_may_be_shown_holds_a_key() -> None:
    settings = Settings.model_validate({"api_keys": POOL, "api_key": CANARY})
    keys = build_key_pool(settings)
    shown = f"{settings!r}{settings}{vars(keys)!r}{keys._slots[0].key!r}{key_id(CANARY)}"
    assert "canary" not in shown


@pytest.mark.parametrize(
    ("status", "message", "metadata"),
    [
        (401, "User not found.", {}),
        (402, "Insufficient credits.", {"limit_source": "openrouter_credits"}),
        (403, "Key limit exceeded (total limit).", {}),
    ],
)
async def test_a_refused_key_rests_and_the_next_one_is_asked(
    harness: GatewayHarness,
    upstream: ScriptedUpstream,
    status: int,
    message: str,
    metadata: dict[str, Any],
) -> None:
    upstream.add_script(error_reply(status, message, **metadata)).add_script(streamed_reply())
    async with harness.build_gateway(api_keys=POOL[:2], api_key=None) as gateway:
        completion = await gateway.complete(a_request())
        await gateway.complete(a_request())
        resting = [state.cool_down_s > 0 for state in gateway.keys.status()]
    assert completion.text == "Hello"
    assert bearers(upstream) == ["a", "b", "b"]
    assert resting == [True, False]
    harness.check_invariants(completion.entry)


@pytest.mark.parametrize("status", [401, 402])
async def test_with_no_key_left_the_code_says_so_and_nobody_is_asked(
    harness: GatewayHarness, upstream: ScriptedUpstream, status: int
) -> None:
    upstream.add_script(error_reply(status))
    async with harness.build_gateway() as gateway:
        with pytest.raises(KeysExhausted):
            await gateway.complete(a_request())
        gateway.keys.cool_down(gateway.keys.keys[0], 20.0, "upstream_key_refused")
        with pytest.raises(KeysExhausted) as caught:
            await gateway.complete(a_request())
    assert caught.value.code == "OPENROUTER_SYSTEM_KEY_EXHAUSTED"
    assert caught.value.retry_after_s is not None
    assert caught.value.retry_after_s > 0
    assert len(upstream.requests) == 1
    assert "canary" not in str(caught.value)


async def test_a_callers_own_key_is_the_only_one_it_is_paid_with(
    harness: GatewayHarness, upstream: ScriptedUpstream
) -> None:
    upstream.add_script(error_reply(402, limit_source="openrouter_credits"))
    outcome = await harness(request=a_request(user_key="sk-or-v1-canary-u"), api_keys=POOL)
    assert outcome.codes == ["upstream_payment_required"]
    assert bearers(upstream) == ["u"]


async def test_what_can_be_afforded_is_told_and_the_key_stays_in_use(
    harness: GatewayHarness, upstream: ScriptedUpstream
) -> None:
    message = "You requested up to 65536 tokens, but can only afford 3395."
    upstream.add_script(error_reply(402, message, limit_source="openrouter_credits")).add_script(
        streamed_reply()
    )
    async with harness.build_gateway() as gateway:
        with pytest.raises(Exception, match="3395"):
            await gateway.complete(a_request())
        assert (await gateway.complete(a_request())).text == "Hello"


async def test_a_throttled_key_gives_way_to_the_next_at_once(
    harness: GatewayHarness, upstream: ScriptedUpstream
) -> None:
    upstream.add_script(error_reply(429, headers={"Retry-After": "30"})).add_script(
        streamed_reply()
    )
    outcome = await harness(api_keys=POOL[:2], api_key=None)
    assert outcome.codes == ["rate_limited", None]
    assert bearers(upstream) == ["a", "b"]


async def test_a_busy_provider_is_no_reason_to_change_the_key(
    harness: GatewayHarness, upstream: ScriptedUpstream
) -> None:
    upstream.add_script(error_reply(429, limit_source="upstream_provider_shared_pool")).add_script(
        streamed_reply()
    )
    async with harness.build_gateway(api_keys=POOL[:2], api_key=None) as gateway:
        await gateway.complete(a_request())
        assert [state.cool_down_s for state in gateway.keys.status()] == [0.0, 0.0]


@pytest.mark.parametrize(
    "retry_after", ["-5", "1e20", "inf", "nan", "soon", "٣", "Wed, 21 Oct 2015 07:28:00 GMT", "0"]
)
async def test_a_retry_after_that_is_none_waits_as_without(
    harness: GatewayHarness, upstream: ScriptedUpstream, retry_after: str
) -> None:
    head = {"Retry-After": retry_after.encode().decode("latin-1")}
    upstream.add_script(error_reply(503, headers=head)).add_script(streamed_reply())
    async with asyncio.timeout(60):
        outcome = await harness()
    assert outcome.text == "Hello"


async def test_a_retry_after_that_would_pass_the_deadline_is_not_waited_for(
    harness: GatewayHarness, upstream: ScriptedUpstream
) -> None:
    upstream.add_script(error_reply(503, headers={"Retry-After": "50"}))
    async with asyncio.timeout(40):
        outcome = await harness(total_timeout_s=45)
    assert outcome.codes == ["upstream_overloaded"]
    assert outcome.error is not None
    assert outcome.error.retry_after_s == 50.0


async def test_a_short_rest_is_waited_for_by_a_few(
    harness: GatewayHarness, upstream: ScriptedUpstream, loop_clock: Any
) -> None:
    upstream.add_script(error_reply(429, headers={"Retry-After": "1"})).add_script(streamed_reply())
    async with harness.build_gateway() as gateway:
        first = asyncio.ensure_future(gateway.complete(a_request()))
        await loop_clock.until(lambda: gateway.keys.status()[0].limited_s)
        others = [gateway.complete(a_request()) for _ in range(3)]
        pending = asyncio.gather(first, *others)
        assert await loop_clock.run_until(pending.done, step_s=0.1) > 0.9
        replies = await pending
    assert [one.text for one in replies] == ["Hello"] * 4
    assert len(upstream.requests) == 5


async def test_no_key_at_all_is_a_setting_that_is_missing(harness: GatewayHarness) -> None:
    async with harness.build_gateway(api_key=None) as gateway:
        with pytest.raises(ConfigurationError, match="OPENROUTER_API_KEY"):
            await gateway.complete(a_request())
