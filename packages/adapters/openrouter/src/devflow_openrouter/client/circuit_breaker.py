"""The circuit breaker is provider-neutral: `devflow_upstream.policies.circuit_breaker`."""

from devflow_upstream.policies.circuit_breaker import BreakerPolicy, CircuitBreaking

__all__ = ["BreakerPolicy", "CircuitBreaking"]
