"""Answers requests: one handler for each group of routes."""
