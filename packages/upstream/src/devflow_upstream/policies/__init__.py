"""Wraps policies around a call: rate limit, circuit breaker, retry and fallback."""
