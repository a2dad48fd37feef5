"""The clauses: one table, and the checks behind it, by what they are about."""

from devflow_cli.conformance.clauses.table import CLAUSES

__all__ = ["CLAUSES"]
