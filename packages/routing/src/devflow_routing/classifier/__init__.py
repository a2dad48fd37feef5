"""What a request is about: the prompt's text, its features, rules and a small linear model."""
