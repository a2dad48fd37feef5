"""Compares our ledger with the provider's bill, and settles open costs."""
