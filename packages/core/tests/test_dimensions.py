"""One table defines the dimensions by which requests are told apart."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from devflow_core.attribution import Attribution
from devflow_core.dimensions import (
    BUDGET_SCOPES,
    DIMENSION_BY_NAME,
    DIMENSIONS,
    GROUPINGS,
    group_key,
)
from devflow_core.testing import an_attempt, an_entry

ATTRIBUTION = Attribution(
    **{one.name: f"the {one.name}" for one in fields(Attribution) if one.name != "tags"},  # type: ignore[arg-type]
    tags={"the": "tags"},
)


def test_each_grouping_has_one_row() -> None:
    assert len(DIMENSION_BY_NAME) == len(DIMENSIONS)
    assert set(GROUPINGS) <= set(DIMENSION_BY_NAME)
    columns = [one.column for one in DIMENSIONS if one.column]
    assert len(columns) == len(set(columns))


def test_each_label_of_a_request_is_exported() -> None:
    entry = an_entry(attribution=ATTRIBUTION)
    told = {
        one.value_of(entry, entry.attempts[0])
        for one in DIMENSIONS
        if one.export_column is not None
    }
    labels = {f"the {one.name}" for one in fields(Attribution) if one.name != "tags"}
    assert told >= {*labels, "the=tags"}


@pytest.mark.parametrize("name", BUDGET_SCOPES)
def test_a_budget_s_scope_says_the_same_before_and_after_the_call(name: Any) -> None:
    attempt = an_attempt(model="x/served")
    entry = an_entry(attempts=(attempt,), attribution=ATTRIBUTION, task_type="planning")
    before = DIMENSION_BY_NAME[name].before
    assert before is not None
    assert before(ATTRIBUTION, "x/served", "planning") == group_key(name, entry, attempt) != ""


def test_what_only_the_end_tells_has_no_budget() -> None:
    assert {"provider", "error", "day", "commit"}.isdisjoint(BUDGET_SCOPES)
