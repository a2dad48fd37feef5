"""Adds up what sessions cost, by day, session or block, and joins it with the ledger."""
