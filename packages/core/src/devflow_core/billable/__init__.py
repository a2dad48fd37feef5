"""Finds what a request may be billed for besides the tokens of the model it asks for."""

from devflow_core.billable.reading import read_billable
from devflow_core.billable.values import (
    Billable,
    Doubt,
    NamedModel,
    Searches,
)

__all__ = [
    "Billable",
    "Doubt",
    "NamedModel",
    "Searches",
    "read_billable",
]
