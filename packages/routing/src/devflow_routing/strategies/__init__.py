"""Builds routes: for a model that the caller names, or for the best one."""
