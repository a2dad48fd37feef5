"""The append-only journal: hashed rows, written in groups by one thread."""
