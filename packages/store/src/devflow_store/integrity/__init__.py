"""Whether the ledger is whole, and how it is backed up and restored."""
