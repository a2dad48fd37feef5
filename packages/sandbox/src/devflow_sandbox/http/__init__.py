"""How answers reach a client: over a socket, or in process."""
