"""OpenRouter over HTTP: its endpoints, its keys, and the policies around a call."""
