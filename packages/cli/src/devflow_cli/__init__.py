"""Implements the `devflow` command."""
