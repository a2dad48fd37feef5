"""Holds the providers besides the main one: their modules, and the table that lists them."""
