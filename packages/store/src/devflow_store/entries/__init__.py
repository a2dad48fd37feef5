"""Reads ledger entries back, sums them, exports and erases them."""
