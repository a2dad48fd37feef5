"""Limits spending: budgets, reservations against them, and alerts."""
