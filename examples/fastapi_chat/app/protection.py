"""Rate limits by address, and tokens against forged posts of browsers; the same in each example.

Several workers count apart, so that a limit is per worker; behind a proxy, let the proxy count.
"""

import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from threading import Lock

COOKIE = "csrf"
HEADER = "x-csrf-token"
MAX_ADDRESSES = 10_000


class RateLimit:
    """Lets each address post so often a minute, in bursts of at most as many."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = Lock()

    def wait_s(self, address: str) -> float:
        """Take one; return 0, or the seconds until the next one is allowed."""
        now = time.monotonic()
        with self._lock:
            left, at = self._buckets.pop(address, (float(self._per_minute), now))
            left = min(self._per_minute, left + (now - at) * self._per_minute / 60)
            is_allowed = left >= 1
            self._buckets[address] = (left - 1 if is_allowed else left, now)
            while len(self._buckets) > MAX_ADDRESSES:
                self._buckets.popitem(last=False)
        return 0.0 if is_allowed else (1 - left) * 60 / self._per_minute


def new_token() -> str:
    """Return a token for the cookie; the page sends it back as a header, too."""
    return secrets.token_urlsafe(32)


def is_forged(headers: Mapping[str, str], cookie: str | None) -> bool:
    """Return whether a post comes from a browser and cannot show the token of its cookie.

    Another site can have a browser send our cookie, but cannot read it, so it cannot send the
    header. Programs send neither `Origin` nor `Sec-Fetch-Site` nor a cookie.
    """
    is_browser = bool(cookie) or "origin" in headers or "sec-fetch-site" in headers
    if not is_browser:
        return False
    shown = headers.get(HEADER, "")
    return not cookie or not hmac.compare_digest(shown.encode(), cookie.encode())
