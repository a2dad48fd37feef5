"""Finds the task of a request, from the prompt's text with rules and a small linear model."""
