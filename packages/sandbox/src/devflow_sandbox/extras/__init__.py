"""What a request orders beside a reply: searches, pages, other models, tiers; and what it used."""
