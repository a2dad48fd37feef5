"""The retry policy is provider-neutral: `devflow_upstream.policies.retry`."""

from devflow_upstream.policies.retry import RetryBudget, Retrying, RetryPolicy

__all__ = ["RetryBudget", "RetryPolicy", "Retrying"]
