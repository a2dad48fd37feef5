"""Implements the database interface over SQLite and PostgreSQL, chosen by URL."""
