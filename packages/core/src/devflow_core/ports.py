"""The protocols between stages, on one screen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from devflow_core.chat import ChatRequest, Event
from devflow_core.ledger import Attempt, AttemptStart, LedgerEntry
from devflow_core.routing import Candidate, Route, Task

if TYPE_CHECKING:
    from devflow_core.journal import Journal

Events = AbstractAsyncContextManager[AsyncIterator[Event]]
"""Entered at the first event, which is a `Started`; left, it has closed what it opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamKey:
    """A provider's key in memory; never in a `repr`, a log or a ledger."""

    secret: str = field(repr=False)
    id: str
    """Fingerprint: the first 12 hex digits of the key's SHA-256."""
    source: Literal["user", "server"]
    """`user`: sent by the caller with this request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call to one candidate, as it passes down the stack of wrappers."""

    request: ChatRequest
    candidate: Candidate
    journal: Journal
    key: UpstreamKey | None = None
    """Set by the wrapper that chooses keys; None above it."""
    is_last: bool = True
    """No other candidate is left to take over."""


class Upstream(Protocol):
    """The shape of the HTTP client and of every policy wrapped around it."""

    def open(self, call: Call, /) -> Events:
        """Ask one candidate. Before the first event an error may be retried; after it, never.

        Raises:
            DevFlowError: on entry, when the candidate refused or failed before its first event;
                from the iterator, when the reply broke off.
        """
        ...


class Executor(Protocol):
    """Walks a route: asks candidates until one begins to answer."""

    def open(self, request: ChatRequest, route: Route, journal: Journal, /) -> Events:
        """Ask the candidates in order.

        Raises:
            AllCandidatesFailed: every one failed; it holds all errors.
            DevFlowError: an error whose disposition is FAIL, at once.
        """
        ...


class ContextInjector(Protocol):
    """Puts what a session knows into a request."""

    async def inject(self, request: ChatRequest, /) -> ChatRequest:
        """The request with context and attribution; unchanged where there is nothing to add."""
        ...


class Classifier(Protocol):
    """Says what a request is about."""

    def classify(self, request: ChatRequest, /) -> Task:
        """Pure and fast; reads the whole conversation, not only the last line."""
        ...


class Router(Protocol):
    """Says who may answer."""

    def route(self, request: ChatRequest, task: Task, /) -> Route:
        """Pure: the same inputs and snapshots give the same route.

        Raises:
            RoutingError: nobody can take the request.
            BudgetExceeded: somebody could, but not for this money.
        """
        ...


class Ledger(Protocol):
    """Something that takes entries in: a view, or several behind a `Tee`."""

    def record(self, entry: LedgerEntry, /) -> None:
        """Take one entry in. Synchronous, microseconds, never raises for a well-formed entry."""
        ...


class Book(Protocol):
    """The durable side of the ledger, with the budgets: what it has accepted survives."""

    async def begin(self, start: AttemptStart, /, *, ended: tuple[Attempt, ...] = ()) -> None:
        """Write that an attempt is about to be sent, and reserve its worst case.

        One transaction with the ends of earlier attempts of the same request. On return it is
        durable.

        Raises:
            BudgetExceeded: a budget that applies has not enough left; nothing was written.
            UnknownPrice: a budget applies and the worst case is not known.
            StoreError: it is not known to be durable, so nothing may be sent.
        """
        ...

    async def close(self, entry: LedgerEntry, /) -> None:
        """Write the entry and the end of every attempt, and settle the budgets; then durable.

        Idempotent by `entry_id`.

        Raises:
            StoreError: it could not be written, also not to the emergency file.
        """
        ...
