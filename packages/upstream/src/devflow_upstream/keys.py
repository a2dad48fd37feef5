"""Rotates the gateway's own keys, and lets one rest that was refused, spent or throttled."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from devflow_core.errors import (
    ConfigurationError,
    DailyQuotaExceeded,
    KeyRefused,
    KeysExhausted,
    PaymentRequired,
    RateLimited,
    StillLimited,
    UpstreamError,
)
from devflow_core.ids import key_id
from devflow_core.masking import KNOWN_SECRETS
from devflow_core.ports import UpstreamKey

from devflow_upstream.key_slot import KeyFailure, KeySlot, KeyState
from devflow_upstream.limits import WHOLE_KEY, LimitRules

__all__ = ["KeyPool", "KeyState", "key_id"]

_NO_RULES = LimitRules()

_FIRST_REST_S = 1.0
"""Seconds of the first rest of a refused or spent key; asking again soon costs nothing."""
_MAX_REST_S = 30.0
"""The longest rest after refusals, in seconds; each refusal in a row doubles the rest."""
_THROTTLED_COOL_DOWN_S = 1.0
"""Seconds of rest after a 429 that names no time."""
_MAX_COOL_DOWN_S = 3600.0
"""The longest rest after a 429, in seconds, whatever time it names."""
_MAX_JITTER_S = 2.0
"""The longest jitter in seconds, so that a key is back before a call that waits for it gives up."""
_PROBE_TIMEOUT_S = 4.0
"""Seconds for which only one call tries a key that is back; a refusal comes much sooner."""
_MAX_WAIT_S = 5.0
"""The longest time in seconds that a call waits for a key."""
_MAX_WAITERS = 100
"""The most calls that wait for a key at the same time."""


class KeyPool:
    """The gateway's own keys, in rotation; a key that was refused or spent cools down.

    A key that has met a rate limit rests only for what the limit applies to.

    Args:
        pool: the keys that are used in turn.
        single: the key that is used if none of the pool can be.
        no_key_message: the message of the error if there is no key at all.
        limits: what the provider's rate limits apply to.
        clock: monotonic seconds; None: the event loop's clock.
        chance: uniform in [0, 1): cool-downs get longer by up to a quarter, at most 2 s, so that
            keys come back at different times.
    """

    def __init__(
        self,
        pool: Sequence[str] = (),
        single: str | None = None,
        *,
        limits: LimitRules = _NO_RULES,
        no_key_message: str = "The gateway has no key. Set one, or send a key with the request.",
        clock: Callable[[], float] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._no_key_message = no_key_message
        self._limits = limits
        self._clock = clock
        self._chance = chance
        self._slots: list[KeySlot] = []
        self._next_index = 0
        self._waiters = 0
        self._changed = asyncio.Event()
        self.set_keys(pool, single)

    def set_keys(self, pool: Sequence[str], single: str | None = None) -> None:
        """Replace the keys without a restart; keys that stay keep their cool-downs.

        Args:
            pool: the secrets of the keys in rotation.
            single: the secret of the key that is used if none of the pool can be; None: none is.
        """
        known = {slot.key.secret: slot for slot in self._slots}
        KNOWN_SECRETS.remember([*pool, single])
        named: dict[str, Literal["pool", "single"]] = dict.fromkeys((k for k in pool if k), "pool")
        if single:
            named.setdefault(single, "single")
        self._slots = [
            known[secret] if secret in known else KeySlot(secret, source)
            for secret, source in named.items()
        ]
        self._pool_slots = [slot for slot in self._slots if slot.source == "pool"]

    @property
    def keys(self) -> tuple[UpstreamKey, ...]:
        """All keys, in the order of their use."""
        return tuple(slot.key for slot in self._slots)

    def status(self) -> tuple[KeyState, ...]:
        """Return the state of all keys, by fingerprint, in the order of their use."""
        now_s = self._now_s() if self._slots else 0.0
        return tuple(slot.describe_state(now_s) for slot in self._slots)

    def pick(self, model: str = "") -> UpstreamKey | None:
        """Return the next key in turn that is not resting for this model; None if there is none.

        A key that is back from a rest is given to one call as a probe. Others get it once
        `mark_good`, `record_failure` or `release` has ended the probe and the key is not resting,
        or after four seconds.
        """
        now_s = self._now_s()
        for offset in range(len(self._pool_slots)):
            slot = self._pool_slots[(self._next_index + offset) % len(self._pool_slots)]
            if self._claim(slot, model, now_s):
                self._next_index = (self._next_index + offset + 1) % len(self._pool_slots)
                return slot.key
        for slot in self._slots:
            if slot.source == "single" and self._claim(slot, model, now_s):
                return slot.key
        return None

    async def wait_for_key(
        self, model: str, max_wait_s: float, *, is_last: bool = True
    ) -> UpstreamKey | None:
        """Return a key at once, or one that is back soon; None if that would take too long.

        At most 100 calls wait, and none longer than 5 s. No call waits if another model is ready to
        be asked (not `is_last`) and some key can ask it.
        """
        key = self.pick(model)
        if key is not None or not self._slots or self._waiters >= _MAX_WAITERS:
            return key
        now_s = self._now_s()
        if not is_last and not all(slot.rests_whole(now_s) for slot in self._slots):
            return None
        until_s, scopes = now_s + min(max_wait_s, _MAX_WAIT_S), tuple(self._limits.scopes_of(model))
        self._waiters += 1
        try:
            while key is None:
                soonest_s = min(slot.ends_at_s(scopes) for slot in self._slots)
                if max(soonest_s, self._now_s()) >= until_s:
                    return None
                await self._wait_for_change(min(until_s, soonest_s or until_s) - self._now_s())
                key = self.pick(model)
        finally:
            self._waiters -= 1
        return key

    def cool_down(
        self, key: UpstreamKey, seconds: float, reason: str, *, scope: str = WHOLE_KEY
    ) -> None:
        """Let a key rest for some seconds plus jitter, for all models or for one scope.

        `reason` is the code of an error, for `status`. A key that is not in the pool is ignored.
        """
        now_s = self._now_s()
        jitter_s = min(0.25 * seconds, _MAX_JITTER_S) * self._chance()
        for slot in self._slots:
            if slot.key.id == key.id:
                rest = slot.make_rest(scope, now_s)
                rest.available_at_s, rest.reason = now_s + seconds + jitter_s, reason
                rest.is_probing = False
                self._notify()

    def record_failure(self, key: UpstreamKey, error: UpstreamError, model: str = "") -> bool:
        """Apply an error to its key; return whether the key cools down, at least for this model."""
        seconds = self.cool_down_s(error)
        if seconds is None:
            return False
        scope = self._limits.scope_of(error, model)
        if scope == WHOLE_KEY:
            self.release(key, model)
        else:  # only a good key can meet a limit of something else
            self._forget(key, [WHOLE_KEY])
        slot = next((one for one in self._slots if one.key.id == key.id), None)
        if slot is not None:
            rest = slot.make_rest(scope, self._now_s())
            rest.failure = KeyFailure(_key_status(error), error.detail, error.error_type)
            if not isinstance(error, RateLimited):
                # 2**16 is far beyond _MAX_REST_S; the cap only keeps the power small
                seconds = min(_MAX_REST_S, seconds * 2 ** min(rest.refusals_in_a_row, 16))
                rest.refusals_in_a_row += 1
        self.cool_down(key, seconds, error.code, scope=scope)
        return True

    def cool_down_s(self, error: UpstreamError) -> float | None:
        """Return the seconds of a first rest after this error; None if the key stays in use."""
        return None if error.error_type in self._limits.shared else _cool_down_s(error)

    def mark_good(self, key: UpstreamKey, model: str = "") -> None:
        """Record that a key was accepted for this model, which ends its rests for it."""
        self._forget(key, self._limits.scopes_of(model))

    def release(self, key: UpstreamKey, model: str = "") -> None:
        """End a probe that has not shown whether the key is good, so that another can begin."""
        for slot in self._slots:
            if slot.rests and slot.key.id == key.id:
                for rest in slot.rests_for(self._limits.scopes_of(model)):
                    rest.end_probe(self._now_s())
                self._notify()

    def exhausted_error(self, model: str = "") -> UpstreamError | ConfigurationError:
        """Return the error for a call that found no key; it states why the keys cannot be used."""
        if not self._slots:
            return ConfigurationError(self._no_key_message)
        now_s, scopes = self._now_s(), tuple(self._limits.scopes_of(model))
        limited = [slot for slot in self._slots if slot.is_limited(scopes, now_s)]
        slots, scopes = (limited, scopes[1:]) if limited else (self._slots, scopes)
        states = ", ".join(slot.describe(scopes) for slot in slots)
        failures = [slot.failure(scopes) for slot in slots]
        failure = min(failures, key=lambda one: _BY_HOPE.index(one.status))
        retry_after_s = max(0.0, min(slot.ends_at_s(scopes) for slot in slots) - now_s)
        kind, message = (
            (StillLimited, _LIMITED_MESSAGE)
            if limited
            else (KeysExhausted, _EXHAUSTED_MESSAGES[failure.status])
        )
        return kind(
            message.format(model=model, states=states),
            status=failure.status,
            error_type=failure.error_type,
            retry_after_s=retry_after_s,
        )

    def _claim(self, slot: KeySlot, model: str, now_s: float) -> bool:
        if not slot.rests:
            return True
        rests = slot.rests_for(self._limits.scopes_of(model))
        if any(rest.available_at_s > now_s for rest in rests):
            return False
        for rest in rests:  # back from a cool-down: one call probes, the others wait for it
            rest.available_at_s, rest.is_probing = now_s + _PROBE_TIMEOUT_S, True
        return True

    def _forget(self, key: UpstreamKey, scopes: Iterable[str]) -> None:
        for slot in self._slots:
            if slot.rests and slot.key.id == key.id:
                for scope in scopes:
                    slot.rests.pop(scope, None)
                self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _wait_for_change(self, max_wait_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max_wait_s):
                await self._changed.wait()

    def _now_s(self) -> float:
        return self._clock() if self._clock else asyncio.get_running_loop().time()


_LIMITED_MESSAGE = (
    "{model} is over its limit with this gateway's keys ({states}). Wait, or ask another model."
)
_BY_HOPE = (429, 402, 401)
"""Statuses by how soon they pass: of several reasons for rests, the error reports the first."""
_EXHAUSTED_MESSAGES = {
    429: "Every key of this gateway rests ({states}). Wait, or add another key.",
    402: "This gateway's keys may spend no more ({states}). Its operator has to add credits or"
    " raise the limit.",
    401: "The provider does not accept this gateway's keys ({states}). Its operator has to set a"
    " valid one, by `devflow init --new-key` or in the environment; the key of the client is not"
    " the cause.",
}


def _key_status(error: UpstreamError) -> int:
    if isinstance(error, KeyRefused | PaymentRequired):
        return error.status_hint
    return 429


def _cool_down_s(error: UpstreamError) -> float | None:
    if isinstance(error, KeyRefused):
        return _FIRST_REST_S
    if isinstance(error, PaymentRequired):
        # a smaller request may still be affordable, so the key stays in use
        return None if "can only afford" in error.message else _FIRST_REST_S
    if isinstance(error, DailyQuotaExceeded) or not isinstance(error, RateLimited):
        return None  # the free allowance is the account's, and paid models still work
    return min(error.retry_after_s or _THROTTLED_COOL_DOWN_S, _MAX_COOL_DOWN_S)
