"""Defines the protocols between the stages of a request."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, Protocol

from devflow_core.events import Event
from devflow_core.ledger import Attempt, LedgerEntry
from devflow_core.request import ChatRequest
from devflow_core.routing import Candidate, CheckOutcome, Route, Task
from devflow_core.verification import CheckedAnswer, Verdict

EventStream = AbstractAsyncContextManager[AsyncIterator[Event]]
"""A reply's events: entered once there is content, `Started` first; leaving closes everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamKey:
    """A provider's key in memory; it never appears in a `repr`, a log or a ledger."""

    secret: str = field(repr=False)
    id: str
    """The fingerprint: the first 12 hex digits of the key's SHA-256."""
    source: Literal["user", "server"]
    """`user`: sent by the caller with this request; `server`: one of the gateway's."""


class OpenAttempt(Protocol):
    """One call in flight, as its meter sees it."""

    def observe(self, event: Event, /) -> None:
        """Record the next event of the reply."""
        ...

    def end(self, error: BaseException | None, /) -> None:
        """End the call, once: succeeded if `Finished` has come, else failed or cancelled.

        It failed if `error` is an `Exception`, and was cancelled by its reader otherwise.
        """
        ...


class AttemptLog(Protocol):
    """The part of a request's journal that the wrappers of a call may use."""

    omitted: tuple[str, ...]
    """The parts that the latest call could not carry over; set before it is sent."""
    waited_s: float
    """Seconds that the request's calls have waited on this machine before they were sent."""
    served: str | None
    """The model that answers the latest call; None before its first event."""

    @property
    def ended(self) -> Sequence[Attempt]:
        """The attempts that have ended, in the order in which they were made."""
        ...

    def remaining_s(self) -> float:
        """Return the seconds until the request's deadline; negative once it has passed."""
        ...

    def set_route(self, route: Route, /) -> None:
        """Replace the route, for its record of checks."""
        ...

    def note_check(self, number: int, outcome: CheckOutcome, /) -> None:
        """Record on an ended attempt what became of its checks."""
        ...

    async def begin(self, call: Call, /) -> OpenAttempt:
        """Make an attempt durable before it is sent; nothing may be sent if this raises.

        Raises:
            BudgetExceeded: a budget that applies has not enough left.
            UnknownPrice: a budget applies and the worst case is unknown.
            StoreError: the attempt may not be durable.
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
    """Whether no other candidate is left to take over."""
    omitted: tuple[str, ...] = ()
    """Parts already left out of the request because the candidate cannot take them."""


class Upstream(Protocol):
    """The shape of the HTTP client and of every policy wrapped around it."""

    def open(self, call: Call, /) -> EventStream:
        """Ask one candidate; an error may be retried before the first content, and never after it.

        Raises:
            DevFlowError: on entry, if the candidate refused or failed before any content; from the
                iterator, if the reply broke off.
        """
        ...


class Executor(Protocol):
    """Walks a route: asks candidates until one begins to answer."""

    def open(self, request: ChatRequest, route: Route, journal: AttemptLog, /) -> EventStream:
        """Ask the candidates in order.

        Raises:
            AllCandidatesFailed: on entry, if several candidates failed; it holds all errors.
            DevFlowError: on entry, the error of the only candidate, or one whose disposition is
                FAIL; from the iterator, if the reply broke off.
        """
        ...


class Panel(Protocol):
    """What a check of an answer may look at besides it, and how it asks a model."""

    @property
    def earlier(self) -> Sequence[CheckedAnswer]:
        """The answers of other models to the same request that were not accepted."""
        ...

    @property
    def can_go_on(self) -> bool:
        """Whether another model is left to answer."""
        ...

    @property
    def asked_usd(self) -> Decimal:
        """The cost of the calls that checks of this request have made so far, in USD."""
        ...

    async def ask(self, request: ChatRequest, /) -> CheckedAnswer:
        """Return a model's answer to a check's own question; its call is booked with the rest.

        Raises:
            DevFlowError: no model answered, or its worst case is over the request's ceiling.
        """
        ...


class Check(Protocol):
    """One way to judge an answer."""

    name: str
    """Its name in records and messages."""

    async def judge(
        self, request: ChatRequest, answer: CheckedAnswer, panel: Panel, /
    ) -> Verdict | None:
        """Return whether the answer is accepted; None if the check does not apply to it."""
        ...


class ContextInjector(Protocol):
    """Adds the context of a session to a request."""

    async def inject(self, request: ChatRequest, /) -> ChatRequest:
        """Return the request with context and attribution; unchanged if there is nothing to add."""
        ...


class Classifier(Protocol):
    """Finds what a request is about."""

    def classify(self, request: ChatRequest, /) -> Task:
        """Return the task of a request, from the whole conversation; pure and fast."""
        ...


class Router(Protocol):
    """Chooses the models that may answer, and may learn from the outcome.

    A router subclasses this and implements `route`; every other method has a default.
    """

    @abstractmethod
    def route(self, request: ChatRequest, task: Task, /) -> Route:
        """Return the candidates; the same inputs and snapshots always give the same route.

        Raises:
            RoutingError: no model can take the request.
            BudgetExceeded: models could, but none within the cost ceiling.
        """
        ...

    def explain(self, request: ChatRequest, task: Task, /) -> Route:
        """Return the decision for a person; it may name more candidates than would be asked.

        By default it is the route itself.

        Raises:
            RoutingError, BudgetExceeded: as `route`.
        """
        return self.route(request, task)

    def record(self, entry: LedgerEntry, /) -> None:
        """Learn from the entry of a finished request (`Ledger.record`); by default, do nothing."""
        return

    def feedback(self, entry: LedgerEntry, score: float) -> bool:
        """Learn from a user's rating of an answer; return whether that changed anything.

        By default it changes nothing.

        Args:
            entry: the ledger's entry of the request.
            score: 0 (bad) to 1 (good).

        Raises:
            ValueError: the score is not within 0..1.
        """
        return False
