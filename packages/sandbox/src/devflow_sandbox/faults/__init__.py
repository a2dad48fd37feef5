"""Failure on order: the form of a fault script, when a fault applies, and what it does."""
