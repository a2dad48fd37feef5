"""A small chat application over OpenRouter."""
