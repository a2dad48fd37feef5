"""Implements all endpoints but replies: catalogue, account, other media, and the sandbox's own."""
