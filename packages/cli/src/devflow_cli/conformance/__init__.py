"""Examines whether a gateway, ours or another, behaves as its clients expect."""

from devflow_cli.conformance.clause import Clause, Finding
from devflow_cli.conformance.clauses import CLAUSES
from devflow_cli.conformance.examination import Examination, examine
from devflow_cli.conformance.terms import Group

__all__ = ["CLAUSES", "Clause", "Examination", "Finding", "Group", "examine"]
