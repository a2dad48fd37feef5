"""Re-exports the retry policy of `devflow_upstream.policies.retry`."""

from devflow_upstream.policies.retry import RetryBudget, Retrying, RetryPolicy

__all__ = ["RetryBudget", "RetryPolicy", "Retrying"]
