"""Where a reply comes from: the pipeline, a call in flight, a cache or an earlier attempt."""
