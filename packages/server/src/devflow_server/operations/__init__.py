"""Serves operators: metrics, tracing, readiness and background maintenance."""
