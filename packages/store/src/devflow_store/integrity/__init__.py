"""Verifies the ledger, backs it up, and guards against its loss."""
