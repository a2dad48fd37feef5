"""Failure on order: the form of a fault script, when a fault strikes, and what it does."""
