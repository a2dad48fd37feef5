"""Carries bytes to a provider: one port, implemented by our own HTTP/1.1 and by httpx."""
