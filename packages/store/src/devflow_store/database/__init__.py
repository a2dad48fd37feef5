"""The database interface of the store, and its tables."""
