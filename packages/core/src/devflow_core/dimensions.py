"""Defines the dimensions of requests: one row for each label, from which everything else follows.

Grouping in Python and in SQL, the columns of exports, what an erasure removes, the options of
`devflow report`, the words of the MCP tool, the scopes of budgets and the headers that clients send
are read from `DIMENSIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Literal, get_args

from devflow_core.errors import InvalidRequest

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
"""The names of groupings; `day` is the day in UTC, `key` the client key's name."""
GROUPINGS: tuple[GroupBy, ...] = get_args(GroupBy)
GROUPING_BY_NAME: Mapping[str, GroupBy] = {one: one for one in GROUPINGS}
MAX_REPORT_DIMENSIONS = 2
"""Dimensions that a report may have: a third one no longer fits a page, and nobody reads it."""

BeforeCall = Callable[["Attribution", str, str], str | None]
"""Takes (labels, model, task) and returns the value if it is known before a call is made."""
AfterCall = Callable[["LedgerEntry", "Attempt | None"], str | None]
"""Takes (entry, attempt; None if no model was asked) and returns the value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """A property by which requests are grouped, exported, limited or erased."""

    name: str
    """One of `GROUPINGS`; a dimension with any other name is only exported."""
    after: AfterCall
    """Reads its value from the ledger."""
    before: BeforeCall | None = None
    """Reads its value before a call; None if it is known only later, so no budget can use it."""
    column: str | None = None
    """Its column in the ledger's table of labels; None if it is not kept there as text."""
    export_column: str | None = None
    """Its column among the labels of a CSV export; None if the other columns hold it."""
    is_personal: bool = False
    """Whether an erasure removes it."""
    header: str = ""
    """The header, in lower case, in which clients of the HTTP gateway state the value.

    Empty if there is none, or if its value needs more parsing than plain text.
    """

    def value_of(self, entry: LedgerEntry, attempt: Attempt | None) -> str:
        """Return the value for one attempt; "" if it is unknown."""
        return self.after(entry, attempt) or ""


def _tags(entry: LedgerEntry, _attempt: Attempt | None) -> str:
    """Return the caller's own labels in one text, as in `customer=42 team=web`."""
    return " ".join(f"{name}={value}" for name, value in entry.attribution.tags.items())


def _error(entry: LedgerEntry, attempt: Attempt | None) -> str:
    """Return why the request failed; only the attempt that decided the outcome carries it."""
    if entry.outcome == "succeeded" or attempt is not entry.final_attempt:
        return ""
    return entry.error_code or entry.outcome


def _label(name: str, *, field: str = "", column: str | None, header: str = "") -> Dimension:
    """Return the dimension of a field of `Attribution`: stated by the caller, and thus personal."""
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
# end, so that ids that are already written stay valid (`label_id` in the store).
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
    Dimension(name="tags", export_column="tags", after=_tags, is_personal=True),
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
"""Dimensions that can have a budget: known before a call, and counted by the ledger."""
HEADER_LABELS = {one.export_column or "": one.header for one in DIMENSIONS if one.header}
"""Fields of `Attribution`, each with the header that states it."""


def group_key(by: GroupBy, entry: LedgerEntry, attempt: Attempt | None) -> str:
    """Return the group that an attempt of an entry belongs to; "" if it is unknown."""
    return DIMENSION_BY_NAME[by].value_of(entry, attempt)


def read_dimensions(by: str | Sequence[str]) -> tuple[GroupBy, ...]:
    """Return the dimensions of a report, given as `"model"`, `"day,model"` or `("day", "model")`.

    Raises:
        InvalidRequest: one is unknown or named twice, or there are none or too many.
    """
    names = [one.strip() for one in (by.split(",") if isinstance(by, str) else by)]
    if wrong := [one for one in names if one not in GROUPING_BY_NAME]:
        raise InvalidRequest(f"by: {wrong[0]!r} is none of {', '.join(GROUPINGS)}.")
    if not 1 <= len(names) <= MAX_REPORT_DIMENSIONS or len(set(names)) < len(names):
        raise InvalidRequest(
            f"by: give one dimension or {MAX_REPORT_DIMENSIONS} different ones, such as"
            " project,model."
        )
    return tuple(GROUPING_BY_NAME[one] for one in names)
