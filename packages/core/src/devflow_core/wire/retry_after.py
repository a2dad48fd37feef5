"""How long a provider wants us to wait: strictly parsed, since `float` takes `inf` and `nan`."""

from __future__ import annotations

import re
import time
from email.utils import parsedate_to_datetime

MAX_RETRY_AFTER_S = 60.0

_SECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)
# RFC 9110 section 5.6.7; the two obsolete forms are not sent by anybody we know
_IMF_DATE = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{2} "
    r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [0-9]{4} "
    r"[0-9]{2}:[0-9]{2}:[0-9]{2} GMT",
    re.ASCII,
)


def parse_retry_after(text: str | None, now_s: float | None = None) -> float | None:
    """A `Retry-After` header as seconds, 0..60; None when it is missing or no valid value.

    Args:
        text: the header's value: whole seconds in ASCII digits, or an IMF-fixdate.
        now_s: the present as a Unix time; None is the clock's.
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
