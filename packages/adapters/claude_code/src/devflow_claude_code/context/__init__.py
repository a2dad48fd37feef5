"""Selects what matters in a session, as pieces of context, and adds it to a request."""
