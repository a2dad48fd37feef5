"""Decides when the service object repeats a call: its waits have no jitter, and its own factor."""

from __future__ import annotations

from dataclasses import dataclass

from devflow_core.errors import (
    DevFlowError,
    Overloaded,
    ProviderUnavailable,
    RateLimited,
    UpstreamTimeout,
)
from devflow_core.ports import AttemptLog
from devflow_core.statuses import Disposition
from devflow_upstream.policies.retry import RetryPolicy, count_failed_attempts

MAX_BACKOFF_S = 30.0
"""The longest wait in seconds, unless a Retry-After asks for a longer one."""
_ALWAYS_REPEATED = (UpstreamTimeout, RateLimited, Overloaded, ProviderUnavailable)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRetryPolicy(RetryPolicy):
    """Waits `factor` to the power of the failures so far, and repeats timeouts more than once."""

    factor: float = 2.0
    """Seconds after the first failure; squared after the second, and so on."""

    def wait_s(self, error: DevFlowError, failures: int) -> float:
        """Return the seconds to wait: at least as long as the provider asks for, without jitter."""
        try:
            backoff_s = min(MAX_BACKOFF_S, self.factor**failures)
        except OverflowError:
            backoff_s = MAX_BACKOFF_S
        return max(error.retry_after_s or 0.0, backoff_s)

    def may_retry(self, error: BaseException, journal: AttemptLog, *, is_last: bool) -> bool:
        # a doubtful end (a lost connection) is repeated once by the base policy, as it may be paid
        if isinstance(error, _ALWAYS_REPEATED) and error.disposition is Disposition.RETRY:
            return count_failed_attempts(journal, error) < self.max_attempts
        return RetryPolicy.may_retry(self, error, journal, is_last=is_last)
