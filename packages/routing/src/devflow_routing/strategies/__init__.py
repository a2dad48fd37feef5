"""How a route is made: for a model that the caller names, or for the best one we know."""
