"""Keeps running totals of ledger entries as they arrive."""
