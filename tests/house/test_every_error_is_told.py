"""No class of error is forgotten in the table of what a client is told."""

import pytest
from devflow_core import errors
from integration.told_faults import ENCODED, FAULTS

BASES = {errors.DevFlowError, errors.RequestError, errors.RoutingError, errors.UpstreamError}
"""Kinds of errors; nothing is raised as one of them."""
ERRORS = [
    one
    for one in vars(errors).values()
    if isinstance(one, type) and issubclass(one, errors.DevFlowError) and one not in BASES
]


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_stands_in_the_table_of_faults(kind: type[errors.DevFlowError]) -> None:
    assert kind in ENCODED or any(kind is fault.kind for fault in FAULTS.values())


def test_bases_are_bases() -> None:
    assert all(base.__subclasses__() for base in BASES)
