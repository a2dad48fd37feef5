"""Keeps the append-only chain: hashed rows, written in groups by one thread."""
