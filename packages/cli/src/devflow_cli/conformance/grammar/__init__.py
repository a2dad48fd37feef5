"""Finds where a stream leaves the grammar of its dialect."""
