"""Turns an HTTP request into a `ChatRequest`: body, attribution, session, named node."""
