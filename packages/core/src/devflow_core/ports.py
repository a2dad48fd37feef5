"""The protocols between stages, on one screen."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from devflow_core.events import Event
from devflow_core.ledger import Attempt, LedgerEntry
from devflow_core.request import ChatRequest
from devflow_core.routing import Candidate, Route, Task

EventStream = AbstractAsyncContextManager[AsyncIterator[Event]]
"""Entered when there is content; the first event is a `Started`; left, it has closed all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamKey:
    """A provider's key in memory; never in a `repr`, a log or a ledger."""

    secret: str = field(repr=False)
    id: str
    """Fingerprint: the first 12 hex digits of the key's SHA-256."""
    source: Literal["user", "server"]
    """`user`: sent by the caller with this request."""


class OpenAttempt(Protocol):
    """One call in flight, as its meter sees it."""

    def observe(self, event: Event, /) -> None:
        """Take the next event of the reply in."""
        ...

    def end(self, error: BaseException | None, /) -> None:
        """The call is over: whole, failed with `error`, or left by its reader. Called once."""
        ...


class AttemptLog(Protocol):
    """What the wrappers of a call may know of its request's journal."""

    omitted: tuple[str, ...]
    """What the latest call could not carry over to the provider; set before it is sent."""

    @property
    def ended(self) -> Sequence[Attempt]:
        """The attempts that are over, in the order made."""
        ...

    def remaining_s(self) -> float:
        """Seconds until the request's deadline; negative once it has passed."""
        ...

    async def begin(self, call: Call, /) -> OpenAttempt:
        """Make an attempt durable before it is sent.

        Raises:
            BudgetExceeded, UnknownPrice, StoreError: as `Book.begin`; nothing may be sent then.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call to one candidate, as it passes down the stack of wrappers."""

    request: ChatRequest
    candidate: Candidate
    journal: AttemptLog
    key: UpstreamKey | None = None
    """Set by the wrapper that chooses keys; None above it."""
    is_last: bool = True
    """No other candidate is left to take over."""


class Upstream(Protocol):
    """The shape of the HTTP client and of every policy wrapped around it."""

    def open(self, call: Call, /) -> EventStream:
        """Ask one candidate. Before the first content an error may be retried; after it, never.

        Raises:
            DevFlowError: on entry, when the candidate refused or failed before it said anything;
                from the iterator, when the reply broke off.
        """
        ...


class Executor(Protocol):
    """Walks a route: asks candidates until one begins to answer."""

    def open(self, request: ChatRequest, route: Route, journal: AttemptLog, /) -> EventStream:
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
    """Says who may answer, and may learn from what came of it.

    A router subclasses this and writes `route`; everything else has a default.
    """

    @abstractmethod
    def route(self, request: ChatRequest, task: Task, /) -> Route:
        """Pure: the same inputs and snapshots give the same route.

        Raises:
            RoutingError: nobody can take the request.
            BudgetExceeded: somebody could, but not for this money.
        """
        ...

    def explain(self, request: ChatRequest, task: Task, /) -> Route:
        """The same decision for a person: may name more candidates than would be asked.

        By default the route itself. Raises what `route` raises.
        """
        return self.route(request, task)

    def record(self, entry: LedgerEntry, /) -> None:
        """Learn from the entry of a finished request (`Ledger.record`). By default, do nothing."""
        return

    def feedback(self, entry: LedgerEntry, score: float) -> bool:
        """Take in what the user thought of an answer; whether that changed anything.

        By default it does not.

        Args:
            entry: what the ledger holds of the request.
            score: 0 bad .. 1 good.

        Raises:
            ValueError: the score is not within 0..1.
        """
        return False
