"""Selects the facts that matter in a session, and adds them to a request as pieces of context."""
