"""Holds the clauses: one table, and the checks behind it, by subject."""

from devflow_cli.conformance.clauses.table import CLAUSES

__all__ = ["CLAUSES"]
