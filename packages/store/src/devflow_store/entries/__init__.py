"""Ledger entries as they are read back, summed, exported and erased."""
