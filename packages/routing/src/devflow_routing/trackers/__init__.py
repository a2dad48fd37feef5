"""Builds the snapshots that routing reads from ledger entries: performance and sessions."""
