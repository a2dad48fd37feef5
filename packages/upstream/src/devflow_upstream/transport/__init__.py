"""How bytes travel to a provider: one seam, HTTP/1.1 of our own, or httpx."""
