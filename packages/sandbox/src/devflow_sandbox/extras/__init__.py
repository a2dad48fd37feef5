"""Represents what a request orders beside a reply: searches, pages, other models, service tiers."""
