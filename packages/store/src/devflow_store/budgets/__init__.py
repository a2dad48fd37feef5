"""Budgets: their values, reservations against them, and alerts."""
