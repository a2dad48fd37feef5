"""Delivers answers to clients, over a socket or in process."""
