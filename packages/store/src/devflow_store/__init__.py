"""What must survive: the durable ledger, budgets and keys over SQLite or PostgreSQL."""

from devflow_store.store import Store
from devflow_store.verify import Verification

__all__ = ["Store", "Verification"]
