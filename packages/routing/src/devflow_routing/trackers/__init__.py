"""Snapshots that routing reads, folded from ledger entries: performance and sessions."""
