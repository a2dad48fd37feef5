"""Produces replies: from the pipeline, a shared call, the cache, or a stored reply."""
