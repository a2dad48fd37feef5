"""Speaks to OpenRouter over HTTP: its endpoints and its keys."""
