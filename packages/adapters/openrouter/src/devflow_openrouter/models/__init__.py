"""Reads OpenRouter's list of models, and re-exports the choice among them."""
