"""Describes what the sandbox sells: models, their providers, and what a call costs."""
