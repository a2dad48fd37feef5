"""A stand-in for OpenRouter on a loopback port, with its own books and faults on order."""
