"""Trains and judges the shipped classifier; routing itself does not need it."""
