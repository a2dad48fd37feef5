"""Implements the three dialects of replies; each parses request bodies and encodes replies."""
