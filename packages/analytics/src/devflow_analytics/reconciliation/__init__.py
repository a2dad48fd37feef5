"""Our ledger against the provider's own bill."""
