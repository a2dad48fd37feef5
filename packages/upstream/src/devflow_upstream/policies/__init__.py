"""Policies around one call: rate limit, circuit breaker, retry, fallback."""
