"""Holds the providers besides the main one: a module or an adapter's row for each, and a table."""
