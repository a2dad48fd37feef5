"""What requests are told apart by: one row for each label, and everything else follows from it.

Grouping in Python and in SQL, the columns of exports, what an erasure takes away, the options of
`devflow report`, the words of the MCP tool, the scopes of budgets and the headers that clients send
are read from `DIMENSIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from devflow_core.attribution import Attribution
    from devflow_core.ledger import Attempt, LedgerEntry

GroupBy = Literal[
    "model",
    "provider",
    "task",
    "session",
    "project",
    "branch",
    "agent",
    "key",
    "node",
    "error",
    "day",
]
"""What requests can be grouped by; `day` is the day in UTC, `key` the client key's name."""
GROUPINGS: tuple[GroupBy, ...] = get_args(GroupBy)
GROUPING_BY_NAME: Mapping[str, GroupBy] = {one: one for one in GROUPINGS}

BeforeCall = Callable[["Attribution", str, str], str | None]
"""(labels, model, task) → the value, where it is known before a call is made."""
AfterCall = Callable[["LedgerEntry", "Attempt | None"], str | None]
"""(entry, attempt; None where nobody was asked) → the value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """Something that requests are told apart by."""

    name: str
    """One of `GROUPINGS`; a dimension that is none of them is only exported."""
    after: AfterCall
    """Its value in the ledger."""
    before: BeforeCall | None = None
    """The same before a call; None where only its end tells, so that no budget can be set."""
    column: str | None = None
    """In the ledger's table of labels; None for what is not kept there as a word."""
    export_column: str | None = None
    """In a CSV export, beside the figures of the attempt."""
    is_personal: bool = False
    """Whether an erasure takes it away."""
    header: str = ""
    """In which a client of the HTTP gateway states it as a plain word, where there is one that
    needs no other reading; in lower case."""

    def value_of(self, entry: LedgerEntry, attempt: Attempt | None) -> str:
        """The value of one attempt; "" where it is not known."""
        return self.after(entry, attempt) or ""


def _error(entry: LedgerEntry, attempt: Attempt | None) -> str:
    """Why the request failed; only the attempt that decided carries it."""
    if entry.outcome == "succeeded" or attempt is not entry.final_attempt:
        return ""
    return entry.error_code or entry.outcome


def _label(name: str, *, field: str = "", column: str | None, header: str = "") -> Dimension:
    """A field of `Attribution`: the caller states it, and it names a person or their work."""
    field = field or name
    read = attrgetter(field)
    return Dimension(
        name=name,
        after=lambda entry, _attempt: read(entry.attribution),
        before=lambda labels, _model, _task: read(labels),
        column=column,
        export_column=field,
        is_personal=True,
        header=header,
    )


# In the order of the ledger's columns and of an export's. A new column of the ledger goes to the
# end, so that what is written keeps its id (`label_id` in the store).
DIMENSIONS: tuple[Dimension, ...] = (
    Dimension(
        name="model",
        column="model",
        after=lambda entry, attempt: attempt.model if attempt else entry.requested_model,
        before=lambda _labels, model, _task: model,
    ),
    Dimension(
        name="provider",
        column="provider",
        after=lambda _entry, attempt: attempt.provider if attempt else None,
    ),
    Dimension(
        name="task",
        column="task",
        export_column="task_type",
        after=lambda entry, _attempt: entry.task_type,
        before=lambda _labels, _model, task: task,
    ),
    _label("session", field="session_id", column="session"),
    _label("project", column="project", header="x-devflow-project"),
    _label("branch", column="branch", header="x-devflow-branch"),
    _label("commit", column=None),
    _label("agent", column="agent"),
    _label("key", field="client_key", column="client_key"),
    _label("node", column="node"),
    Dimension(name="error", column="error", after=_error),
    Dimension(
        name="day",
        after=lambda entry, attempt: (attempt or entry).started_at.date().isoformat(),
    ),
)

DIMENSION_BY_NAME = {one.name: one for one in DIMENSIONS}
BUDGET_SCOPES = tuple(
    one.name for one in DIMENSIONS if one.before is not None and one.column is not None
)
"""What a budget can be set for: known before a call, and counted by the ledger."""
HEADER_LABELS = {one.export_column or "": one.header for one in DIMENSIONS if one.header}
"""Fields of `Attribution` with the headers that state them."""


def group_key(by: GroupBy, entry: LedgerEntry, attempt: Attempt | None) -> str:
    """Which group an attempt of an entry belongs to; "" where that is not known."""
    return DIMENSION_BY_NAME[by].value_of(entry, attempt)
