"""The three dialects for replies; each parses request bodies and encodes replies."""
