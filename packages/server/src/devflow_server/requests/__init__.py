"""From an HTTP request to a ChatRequest: body, attribution, session, named node."""
