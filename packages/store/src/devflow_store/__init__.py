"""What must survive: the durable ledger, budgets and keys over SQLite or PostgreSQL."""
