"""Represents what a request orders besides a reply: searches, other models, service tiers."""
