"""The devflow command."""
