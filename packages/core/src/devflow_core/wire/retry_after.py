"""Parses how long a provider asks us to wait, strictly: `float` would accept `inf` and `nan`."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from devflow_core.messages import JsonObject
from devflow_core.wire import json_lenient as lenient

MAX_RETRY_AFTER_S = 86_400.0
"""The longest wait in seconds, enough for a daily limit's reset; longer ones are cut to it."""

_SECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)
_DECIMAL = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?", re.ASCII)
# RFC 9110 section 5.6.7; no known provider sends the two obsolete forms
_IMF_DATE = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{2} "
    r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [0-9]{4} "
    r"[0-9]{2}:[0-9]{2}:[0-9]{2} GMT",
    re.ASCII,
)
_FIRST_EPOCH_S, _FIRST_EPOCH_MS = 1e8, 1e11
"""Below the first, a reset is in seconds from now; from the second on, a time in milliseconds."""


def read_retry_after(
    headers: Mapping[str, str], error: JsonObject, *, is_limit: bool, now_s: float | None = None
) -> float | None:
    """Return how long a failure asks us to wait, in seconds; None if it does not say.

    It is at most `MAX_RETRY_AFTER_S`; whether to wait that long is for the caller to decide.

    Args:
        headers: the reply's headers, names in lower case or a case-insensitive mapping.
        error: the `error` object of the body.
        is_limit: whether a limit was reached, so that `X-RateLimit-Reset` applies.
        now_s: the current Unix time; None: read from the clock.
    """
    now_s = time.time() if now_s is None else now_s
    metadata = lenient.as_object(error.get("metadata"))
    inner = {name.lower(): str(one) for name, one in _pairs(metadata.get("headers"))}
    body_s = (
        metadata.get("retry_after_seconds"), error.get("retry_after_seconds"),
        lenient.as_object(error.get("availability")).get("retry_after"),
    )  # fmt: skip
    found = [_read_headers(headers, now_s), *map(_read_number, body_s), _read_headers(inner, now_s)]
    if is_limit:
        found += [_read_reset(one.get("x-ratelimit-reset"), now_s) for one in (headers, inner)]
    return next((wait_s for wait_s in found if wait_s is not None), None)


def parse_retry_after(text: str | None, now_s: float | None = None) -> float | None:
    """Return a `Retry-After` header in seconds, at most a day; None if it is missing or invalid.

    Args:
        text: the header's value: whole seconds in ASCII digits, or an IMF-fixdate.
        now_s: the current Unix time; None: read from the clock.
    """
    if text is None:
        return None
    if _SECONDS.fullmatch(text):
        return min(float(text), MAX_RETRY_AFTER_S)
    if not _IMF_DATE.fullmatch(text):
        return None
    try:
        retry_at_s = parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):  # 31 Feb, hour 25
        return None
    wait_s = retry_at_s - (time.time() if now_s is None else now_s)
    return min(max(wait_s, 0.0), MAX_RETRY_AFTER_S)


def _pairs(value: object) -> list[tuple[str, object]]:
    return list(lenient.as_object(value).items())


def _read_headers(headers: Mapping[str, str], now_s: float) -> float | None:
    wait_ms = headers.get("retry-after-ms")
    if wait_ms is not None and _DECIMAL.fullmatch(wait_ms):
        return min(float(wait_ms) / 1000, MAX_RETRY_AFTER_S)
    return parse_retry_after(headers.get("retry-after"), now_s)


def _read_number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        return None
    return min(float(value), MAX_RETRY_AFTER_S)


def _read_reset(text: str | None, now_s: float) -> float | None:
    """Return a limit's reset in seconds from now; None if it is missing or not a number.

    It may be given as seconds from now, or as a Unix time in seconds or milliseconds.
    """
    if text is None or not _DECIMAL.fullmatch(text):
        return None
    reset = float(text)
    if reset >= _FIRST_EPOCH_MS:
        reset /= 1000
    wait_s = reset if reset < _FIRST_EPOCH_S else reset - now_s
    return min(max(wait_s, 0.0), MAX_RETRY_AFTER_S)
