"""OpenRouter's models: how its list is read, and where the choice among them is made."""
