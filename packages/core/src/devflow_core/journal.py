"""Keeps the running record of one request: counts every attempt and closes into one entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from devflow_core.clocks import Clocks
from devflow_core.errors import DevFlowError, UpstreamError
from devflow_core.estimates import Ending, SeenReply, assess_cost
from devflow_core.events import Event, Started
from devflow_core.ids import new_id
from devflow_core.ledger import (
    Attempt,
    AttemptStart,
    Book,
    LedgerEntry,
    Outcome,
)
from devflow_core.ports import Call
from devflow_core.request import ChatRequest
from devflow_core.routing import Alternate, Candidate, CheckOutcome, Route
from devflow_core.safe_text import clean_name
from devflow_core.served_model import recorded_name, served_model, serving_terms
from devflow_core.usage import Price

FindModel = Callable[[str], Alternate | None]
"""Returns the model that a reply refers to by this name; None if there is none."""


class Journal:
    """The record of one request, until it is closed into its ledger entry.

    Args:
        request: the request as it arrived.
        book: where attempts become durable.
        deadline_s: the time on the monotonic clock by which everything has to be over.
        clocks: the sources of time.
        bills_on_cancel: whether a provider keeps charging for a reply that is no longer read.
        entry_id: the entry's id; None: a new one.
    """

    def __init__(
        self,
        request: ChatRequest,
        *,
        book: Book,
        deadline_s: float,
        clocks: Clocks | None = None,
        bills_on_cancel: Callable[[str | None], bool] = lambda _provider: True,
        entry_id: str | None = None,
    ) -> None:
        self.entry_id = entry_id or new_id("req")
        self.deadline_s = deadline_s
        self.clocks = clocks or Clocks()
        self.bills_on_cancel = bills_on_cancel
        self.ended: list[Attempt] = []
        self.entry: LedgerEntry | None = None
        self.route: Route | None = None
        self.omitted: tuple[str, ...] = ()
        """The parts that the latest call could not carry over; set before it is sent."""
        self.waited_s = 0.0
        """Seconds that the calls have waited on this machine before they were sent."""
        self.served: str | None = None
        """The model named by the `Started` of the latest call; None before it has come."""
        self.find_served: FindModel = lambda _name: None
        """Looks up models that the request did not name; the pipeline sets it."""
        self._request = request
        self._book = book
        self._unwritten: list[Attempt] = []
        self._count = 0
        self._started_at = self.clocks.now()
        self._arrived_s = self.clocks.monotonic()
        self._first_sent_s: float | None = None
        self._first_event_s: float | None = None

    def set_request(self, request: ChatRequest) -> None:
        """Replace the request by the one that will be sent; its labels become the entry's."""
        self._request = request

    def set_route(self, route: Route) -> None:
        """Record the route; its task labels the entry."""
        self.route = route

    def remaining_s(self) -> float:
        """Return the seconds until the deadline; negative once it has passed."""
        return self.deadline_s - self.clocks.monotonic()

    async def begin(self, call: Call) -> MeteredAttempt:
        """Make an attempt durable before it is sent; nothing may be sent if this raises.

        Raises:
            BudgetExceeded: a budget that applies has not enough left.
            UnknownPrice: a budget applies and the worst case is unknown.
            StoreError: the attempt may not be durable.
        """
        self._count += 1
        self.served = None
        start = AttemptStart(
            attempt_id=new_id("att"),
            entry_id=self.entry_id,
            number=self._count,
            model=recorded_name(call.candidate),
            started_at=self.clocks.now(),
            reserved_usd=call.candidate.worst_case_usd,
            task_type=self.route.task.type if self.route else "",
            attribution=self._request.attribution,
            key_id=call.key.id if call.key else None,
            **serving_terms(call.candidate),
        )
        begun_s = self.clocks.monotonic()
        await self._book.begin(start, ended=tuple(self._unwritten))
        self._unwritten.clear()
        sent_s = self.clocks.monotonic()
        self.waited_s += sent_s - begun_s
        if self._first_sent_s is None:
            self._first_sent_s = sent_s
        return MeteredAttempt(start, call.candidate, self)

    def resolve_served(self, candidate: Candidate, started: Started) -> tuple[str, Price | None]:
        """Return the name and the price of the model that answers, and set `served` to the name.

        The name is the one under which the model is requested; the price is None if it is unknown.
        """
        known = served_model(candidate, started.model)
        if known is None and candidate.may_be_any and started.model:
            known = self.find_served(started.model)
        who = known or candidate
        self.served = recorded_name(who)
        return self.served, who.price

    def _requested_name(self) -> str:
        name = self._request.model
        if self.route is not None and name == self.route.chosen.model:
            return recorded_name(self.route.chosen)
        return clean_name(name) or name

    def record_first_event(self, at_s: float) -> None:
        """Record when the first event of the reply came, on the monotonic clock."""
        if self._first_event_s is None:
            self._first_event_s = at_s

    def end_attempt(self, attempt: Attempt) -> None:
        """Record an ended attempt; it is written with the next attempt or with the entry."""
        self.ended.append(attempt)
        self._unwritten.append(attempt)

    def note_check(self, number: int, outcome: CheckOutcome) -> None:
        """Record on an ended attempt what became of its checks."""
        for attempts in (self.ended, self._unwritten):
            for place, one in enumerate(attempts):
                if one.number == number:
                    attempts[place] = replace(one, check=outcome)

    async def close(
        self, outcome: Outcome, *, error: BaseException | None = None, decision: str | None = None
    ) -> LedgerEntry:
        """Write the one entry of this request; it is durable when this returns.

        Args:
            outcome: how the request ended.
            error: what it ended with, of which the code is kept; None: it did not fail.
            decision: the route as text (`encode_decision` of the pipeline); None: none is kept.

        Raises:
            StoreError: it could be written neither to the ledger nor to the emergency file.
        """
        end_s = self.clocks.monotonic()
        route = self.route
        entry = LedgerEntry(
            entry_id=self.entry_id,
            started_at=self._started_at,
            requested_model=self._requested_name(),
            outcome=outcome,
            attempts=tuple(self.ended),
            task_type=route.task.type if route else "",
            complexity=route.task.complexity if route else "",
            attribution=self._request.attribution,
            error_code=_error_code(error),
            ttft_s=_elapsed_s(self._arrived_s, self._first_event_s),
            total_s=end_s - self._arrived_s,
            overhead_s=(self._first_sent_s or end_s) - self._arrived_s,
            decision=decision,
        )
        await self._book.close(entry)
        self.entry = entry
        return entry


class MeteredAttempt:
    """One call in flight: observes its events, then ends exactly once."""

    def __init__(self, start: AttemptStart, candidate: Candidate, journal: Journal) -> None:
        self._start = start
        self._candidate = candidate
        self._journal = journal
        self._sent_s = journal.clocks.monotonic()
        self._first_event_s: float | None = None
        self._started = Started()
        self._model, self._price = start.model, candidate.price
        self._seen = SeenReply()

    def observe(self, event: Event) -> None:
        """Record an event of the reply."""
        if self._first_event_s is None:
            self._first_event_s = self._journal.clocks.monotonic()
            self._journal.record_first_event(self._first_event_s)
        self._seen.add(event)
        if isinstance(event, Started):
            self._started = event
            self._model, self._price = self._journal.resolve_served(self._candidate, event)

    def end(self, error: BaseException | None) -> None:
        """End the call: succeeded if `Finished` has come, else failed with `error`, or cancelled.

        Without an error, or with one that is not an `Exception`, it was cancelled by its reader.
        """
        finished = self._seen.finished
        cost = assess_cost(
            Ending(
                candidate=self._candidate,
                model=self._model,
                price=self._price,
                reserved_usd=self._start.reserved_usd,
                seen=self._seen,
                error=error,
                bills_on=self._journal.bills_on_cancel,
                provider=self._started.provider,
            )
        )
        self._journal.end_attempt(
            Attempt(
                attempt_id=self._start.attempt_id,
                number=self._start.number,
                model=self._model,
                started_at=self._start.started_at,
                outcome=self._outcome(error),
                cost_status=cost.status,
                cost_usd=cost.usd,
                cost_text=cost.text,
                cost_doubt=cost.doubt,
                observed_usd=cost.observed_usd,
                usage=cost.usage,
                is_usage_estimated=cost.is_usage_estimated,
                provider=self._started.provider or getattr(error, "provider", None),
                generation_id=self._started.generation_id or getattr(error, "generation_id", None),
                finish_reason=finished.finish_reason if finished else None,
                error_code=_error_code(error),
                status=error.status if isinstance(error, UpstreamError) else None,
                ttft_s=_elapsed_s(self._sent_s, self._first_event_s),
                total_s=self._journal.clocks.monotonic() - self._sent_s,
                key_id=self._start.key_id,
                price_version=self._price.version if self._price else None,
                reserved_usd=self._start.reserved_usd,
            )
        )

    def _outcome(self, error: BaseException | None) -> Outcome:
        if self._seen.finished is not None:
            return "succeeded"
        return "failed" if isinstance(error, Exception) else "cancelled"


def _error_code(error: BaseException | None) -> str | None:
    if error is None:
        return None
    return error.code if isinstance(error, DevFlowError) else type(error).__name__


def _elapsed_s(start_s: float, at_s: float | None) -> float | None:
    return None if at_s is None else at_s - start_s
