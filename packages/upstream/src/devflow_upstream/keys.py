"""The gateway's own keys, and which of them are left alone for a while."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from devflow_core.errors import (
    ConfigurationError,
    DailyQuotaExceeded,
    KeyRefused,
    KeysExhausted,
    PaymentRequired,
    RateLimited,
    UpstreamError,
)
from devflow_core.masking import KNOWN_SECRETS
from devflow_core.ports import UpstreamKey

_FIRST_REST_S = 1.0
"""Of a refused or spent key: asking again costs nothing, and it may have been a mistake."""
_MAX_REST_S = 30.0
"""The rest doubles with each refusal in a row, up to here."""
_THROTTLED_COOL_DOWN_S = 1.0
"""Where a key's 429 names no time."""
_MAX_COOL_DOWN_S = 3600.0
_MAX_JITTER_S = 2.0
"""Keys come back apart, but before a call that waits for one has given up."""
_PROBE_TIMEOUT_S = 4.0
"""How long a key that comes back is tried by one call only; a refusal comes much sooner."""
_MAX_WAIT_S = 5.0
"""The longest that a call waits for a key."""
_MAX_WAITERS = 100


def key_id(secret: str) -> str:
    """Fingerprint of a key: the first 12 hex digits of its SHA-256."""
    return hashlib.sha256(secret.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyState:
    """What may be shown of a key."""

    id: str
    source: Literal["pool", "single"]
    cool_down_s: float
    """0: it is in use."""
    reason: str | None
    """Why it cools down: the code of the error."""


@dataclass(frozen=True, slots=True)
class _KeyFailure:
    """Why a provider does not serve a key."""

    status: int
    """401: it is refused; 402: it may spend no more; 429: it is throttled."""
    words: str | None
    error_type: str | None


class _KeySlot:
    """One key of the gateway and its cool-down."""

    def __init__(self, secret: str, source: Literal["pool", "single"]) -> None:
        self.key = UpstreamKey(secret=secret, id=key_id(secret), source="server")
        self.source: Literal["pool", "single"] = source
        self.available_at_s = 0.0
        self.reason: str | None = None
        self.is_unproven = False
        """It has cooled down; the next call to use it finds out whether it is good again."""
        self.is_probing = False
        self.failure: _KeyFailure | None = None
        """What it cools down for, where a provider has said it."""
        self.refusals_in_a_row = 0

    def describe(self) -> str:
        """The key, and why it cools down."""
        words = (self.failure.words if self.failure else None) or self.reason
        return f"{self.key.id}: {words or 'being tried'}"


class KeyPool:
    """The gateway's own keys, in rotation; a key that was refused or spent cools down.

    Args:
        pool: used in turn.
        single: used when none of the pool can be.
        no_key_message: of the error when there is no key at all.
        shared_limits: error types of limits that every key meets; they say nothing of one key.
        clock: monotonic seconds; None is the event loop's.
        chance: uniform in [0, 1): cool-downs get up to a quarter longer, so that keys come
            back apart.
    """

    def __init__(
        self,
        pool: Sequence[str] = (),
        single: str | None = None,
        *,
        shared_limits: frozenset[str] = frozenset(),
        no_key_message: str = "The gateway has no key. Set one, or send a key with the request.",
        clock: Callable[[], float] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._no_key_message = no_key_message
        self._shared_limits = shared_limits
        self._clock = clock
        self._chance = chance
        self._slots: list[_KeySlot] = []
        self._next_index = 0
        self._waiters = 0
        self._changed = asyncio.Event()
        self.set_keys(pool, single)

    def set_keys(self, pool: Sequence[str], single: str | None = None) -> None:
        """Use other keys from now on, without a restart; those that stay keep their cool-downs."""
        known = {slot.key.secret: slot for slot in self._slots}
        KNOWN_SECRETS.remember([*pool, single])
        named: dict[str, Literal["pool", "single"]] = dict.fromkeys((k for k in pool if k), "pool")
        if single:
            named.setdefault(single, "single")
        self._slots = [
            known[secret] if secret in known else _KeySlot(secret, source)
            for secret, source in named.items()
        ]
        self._pool_slots = [slot for slot in self._slots if slot.source == "pool"]

    @property
    def keys(self) -> tuple[UpstreamKey, ...]:
        """Every key, in the order of their use."""
        return tuple(slot.key for slot in self._slots)

    def status(self) -> tuple[KeyState, ...]:
        """Every key by its fingerprint, in the order of their use."""
        now_s = self._now_s() if self._slots else 0.0
        return tuple(
            KeyState(
                id=slot.key.id,
                source=slot.source,
                cool_down_s=max(0.0, slot.available_at_s - now_s),
                reason=slot.reason if slot.available_at_s > now_s else None,
            )
            for slot in self._slots
        )

    def pick(self) -> UpstreamKey | None:
        """The next key in turn that is not cooling down; None when all are."""
        now_s = self._now_s()
        for offset in range(len(self._pool_slots)):
            slot = self._pool_slots[(self._next_index + offset) % len(self._pool_slots)]
            if self._claim(slot, now_s):
                self._next_index = (self._next_index + offset + 1) % len(self._pool_slots)
                return slot.key
        for slot in self._slots:
            if slot.source == "single" and self._claim(slot, now_s):
                return slot.key
        return None

    async def wait_for_key(self, max_wait_s: float) -> UpstreamKey | None:
        """A key at once, or one that is back soon; None when that would take too long.

        At most 100 calls wait, and none longer than 5 s.
        """
        key = self.pick()
        until_s = self._now_s() + min(max_wait_s, _MAX_WAIT_S)
        if key is not None or not self._slots or self._waiters >= _MAX_WAITERS:
            return key
        self._waiters += 1
        try:
            while key is None:
                soonest_s = min(
                    0.0 if one.is_probing else one.available_at_s for one in self._slots
                )
                if max(soonest_s, self._now_s()) >= until_s:
                    return None
                await self._wait_for_change(min(until_s, soonest_s or until_s) - self._now_s())
                key = self.pick()
        finally:
            self._waiters -= 1
        return key

    def cool_down(self, key: UpstreamKey, seconds: float, reason: str) -> None:
        """Leave a key alone for so long, and a little longer."""
        jitter_s = min(0.25 * seconds, _MAX_JITTER_S) * self._chance()
        self._set_state(key, self._now_s() + seconds + jitter_s, reason)

    def record_failure(self, key: UpstreamKey, error: UpstreamError) -> bool:
        """Settle what an error says of its key; whether it cools down."""
        seconds = self.cool_down_s(error)
        if seconds is None:
            return False
        slot = next((one for one in self._slots if one.key.id == key.id), None)
        if slot is not None:
            slot.failure = _KeyFailure(_key_status(error), error.detail, error.error_type)
            if not isinstance(error, RateLimited):
                seconds = min(_MAX_REST_S, seconds * 2 ** min(slot.refusals_in_a_row, 16))
                slot.refusals_in_a_row += 1
        self.cool_down(key, seconds, error.code)
        return True

    def cool_down_s(self, error: UpstreamError) -> float | None:
        """How long a key cools down at first after this error; None: it says nothing of the key."""
        return None if error.error_type in self._shared_limits else _cool_down_s(error)

    def mark_good(self, key: UpstreamKey) -> None:
        """A key has been accepted: its cool-down is over."""
        self._set_state(key, 0.0, None)

    def release(self, key: UpstreamKey) -> None:
        """A call ended without a word about its key: another one may find out."""
        for slot in self._slots:
            if slot.is_probing and slot.key.id == key.id:
                slot.available_at_s, slot.is_probing = self._now_s(), False
                self._notify()

    def exhausted_error(self) -> UpstreamError | ConfigurationError:
        """The error for a call that found no key: what it says is what keeps the keys away."""
        if not self._slots:
            return ConfigurationError(self._no_key_message)
        failures = [slot.failure or _THROTTLED for slot in self._slots]
        failure = min(failures, key=lambda one: _BY_HOPE.index(one.status))
        states = ", ".join(slot.describe() for slot in self._slots)
        return KeysExhausted(
            _EXHAUSTED_MESSAGES[failure.status].format(states=states),
            status=failure.status,
            error_type=failure.error_type,
            retry_after_s=max(0.0, min(one.available_at_s for one in self._slots) - self._now_s()),
        )

    def _claim(self, slot: _KeySlot, now_s: float) -> bool:
        if slot.available_at_s > now_s:
            return False
        if slot.is_unproven:  # back from a cool-down: one call finds out, the others wait for it
            slot.available_at_s, slot.is_probing = now_s + _PROBE_TIMEOUT_S, True
        return True

    def _set_state(self, key: UpstreamKey, until_s: float, reason: str | None) -> None:
        for slot in self._slots:
            if slot.key.id == key.id and (slot.is_unproven or reason is not None):
                slot.available_at_s, slot.reason = until_s, reason
                slot.is_unproven, slot.is_probing = reason is not None, False
                if reason is None:
                    slot.failure, slot.refusals_in_a_row = None, 0
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


_THROTTLED = _KeyFailure(429, None, None)
_BY_HOPE = (429, 402, 401)
"""Where keys rest for several reasons: the one that passes first is told."""
_EXHAUSTED_MESSAGES = {
    429: "Every key of this gateway rests ({states}). Wait, or add another key.",
    402: "This gateway's keys may spend no more ({states}). Whoever runs it has to add credits or"
    " raise the limit.",
    401: "The provider does not accept this gateway's keys ({states}). Whoever runs it has to set a"
    " valid key; the key of the client is not the cause.",
}


def _key_status(error: UpstreamError) -> int:
    if isinstance(error, KeyRefused | PaymentRequired):
        return error.status_hint
    return 429


def _cool_down_s(error: UpstreamError) -> float | None:
    if isinstance(error, KeyRefused):
        return _FIRST_REST_S
    if isinstance(error, PaymentRequired):
        # what is left does for a smaller request, so the key is of use still
        return None if "can only afford" in error.message else _FIRST_REST_S
    if isinstance(error, DailyQuotaExceeded) or not isinstance(error, RateLimited):
        return None  # the free allowance is the account's, and its paid models go on
    return min(error.retry_after_s or _THROTTLED_COOL_DOWN_S, _MAX_COOL_DOWN_S)
