"""Defines the database interface of the store, and its tables."""
