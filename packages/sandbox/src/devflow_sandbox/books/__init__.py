"""What a sandbox keeps: accounts, its own bill of every call, and two caches."""
