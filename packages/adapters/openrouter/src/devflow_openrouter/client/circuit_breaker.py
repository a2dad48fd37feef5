"""Re-exports the circuit breaker of `devflow_upstream.policies.circuit_breaker`."""

from devflow_upstream.policies.circuit_breaker import BreakerPolicy, CircuitBreaking

__all__ = ["BreakerPolicy", "CircuitBreaking"]
