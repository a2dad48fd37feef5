"""Keeps the sandbox's accounts, its bill of every call, and two caches."""
