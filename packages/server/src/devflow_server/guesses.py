"""Slows down clients that guess keys. Requests with a valid key are never delayed."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Awaitable, Callable

import structlog
from devflow_core.errors import Unauthorized

MAX_FREE_GUESSES = 10
"""Wrong keys from one address that are answered at once; one is forgotten every six seconds."""
MAX_FREE_GUESSES_IN_ALL = 1_000
"""Wrong keys from all addresses together that are answered at once."""
MAX_DELAY_S = 4.0
"""The longest delay of an answer, in seconds; the first is a tenth of one, and each doubles it."""
MAX_DELAYED = 256
"""The most answers delayed at a time; others are sent at once, so as not to tie up connections.
"""
MAX_ADDRESSES = 10_000
"""The most addresses remembered; the one whose last wrong key is oldest is forgotten first."""
# ten a minute in the long run, which is more than a person mistypes
_FORGET_INTERVAL_S = 6.0
_FIRST_DELAY_S = 0.1
# one line a minute, so that an attack does not fill the log
_LOG_INTERVAL_S = 60.0
# no caller's address is empty: a Unix socket counts as "unix"
_ALL = ""


class TooManyGuesses(Unauthorized):
    """A wrong key, after many others from the same address or from all."""

    code = "too_many_wrong_keys"
    status_hint = 429


class GuessBrake:
    """Counts wrong keys by address and delays the answers to them.

    Args:
        clock: returns monotonic seconds.
        sleep: waits for a number of seconds.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._failures: dict[str, tuple[float, float]] = {}
        """The number of wrong keys by address, and the time for which it is computed."""
        self._delayed = 0
        self._since_log = 0
        self._logged_s = clock() - _LOG_INTERVAL_S

    async def refuse(self, address: str) -> Unauthorized:
        """Return the error to raise for a wrong key from an address, after the delay due."""
        over_here = self._count(_network(address)) - MAX_FREE_GUESSES
        over = max(over_here, self._count(_ALL) - MAX_FREE_GUESSES_IN_ALL)
        if over <= 0:
            return Unauthorized("This client key is unknown, revoked or expired.")
        self._log_now_and_then()
        # the inner cap only keeps the power small; MAX_DELAY_S is reached long before
        delay_s = min(MAX_DELAY_S, _FIRST_DELAY_S * 2 ** min(over - 1, 10))
        if self._delayed < MAX_DELAYED:
            self._delayed += 1
            try:
                await self._sleep(delay_s)
            finally:
                self._delayed -= 1
        whose = "from this address" if over_here > 0 else "from all addresses together"
        return TooManyGuesses(
            f"This client key is unknown, revoked or expired, and so were many others {whose}."
            " Send a key that `devflow keys list` shows.",
            retry_after_s=MAX_DELAY_S,
        )

    def _count(self, address: str) -> float:
        """Count one more wrong key; return how many there are, without those forgotten."""
        now_s = self._clock()
        count, as_of_s = self._failures.pop(address, (0.0, now_s))
        count = max(0.0, count - (now_s - as_of_s) / _FORGET_INTERVAL_S) + 1
        # each address was put at the end by its last wrong key, so the first is the oldest
        if len(self._failures) >= MAX_ADDRESSES:
            del self._failures[next(iter(self._failures))]
        self._failures[address] = (count, now_s)
        return count

    def _log_now_and_then(self) -> None:
        self._since_log += 1
        now_s = self._clock()
        if now_s - self._logged_s >= _LOG_INTERVAL_S:
            log = structlog.get_logger("devflow.auth")
            log.warning("wrong_keys", refused=self._since_log, addresses=len(self._failures) - 1)
            self._logged_s, self._since_log = now_s, 0


def _network(address: str) -> str:
    """Return the address; for IPv6 its /64 network, since one customer has 2⁶⁴ addresses."""
    if ":" not in address:
        return address or "unix"
    try:
        ip = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    return str(ip.ipv4_mapped or ipaddress.IPv6Network((int(ip), 64), strict=False))
