"""Defines fault scripts: their schema, when a fault applies, and what it does."""
