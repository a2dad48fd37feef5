"""What matters of a session, as pieces of context, and how it enters a request."""
