"""Providers beside the main one: a module each, or a row that an adapter gives, and their table."""
