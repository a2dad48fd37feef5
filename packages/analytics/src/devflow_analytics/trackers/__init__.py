"""Running totals, folded from ledger entries as they come."""
