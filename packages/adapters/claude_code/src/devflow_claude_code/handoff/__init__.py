"""A session goes on at another model, and its reply comes back as a session."""
