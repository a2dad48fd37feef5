"""One handler for each group of routes."""
