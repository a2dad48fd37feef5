"""Continues a session with another model, and writes the reply back as a session."""
