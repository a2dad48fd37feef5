"""The running record of one request: it counts every attempt and closes into one entry."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from devflow_core.errors import (
    DevFlowError,
    Incomplete,
    NotSent,
    PossiblyAccepted,
    ProtocolError,
    ReplyTooLarge,
    UpstreamError,
    UpstreamTimeout,
)
from devflow_core.events import (
    Event,
    Finished,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
)
from devflow_core.ids import new_id
from devflow_core.ledger import (
    Attempt,
    AttemptStart,
    Book,
    CostStatus,
    LedgerEntry,
    Outcome,
)
from devflow_core.masking import clean_name
from devflow_core.ports import Call
from devflow_core.request import ChatRequest
from devflow_core.routing import Alternate, Candidate, Route
from devflow_core.served_model import recorded_name, served_model, serving_terms
from devflow_core.statuses import Disposition
from devflow_core.usage import Price, Usage

CHARS_PER_TOKEN = 3.6
"""For estimates of a reply that was cut; the mean over English prose and code of cl100k_base."""

POSSIBLY_BILLED_ERRORS = (
    PossiblyAccepted,
    UpstreamTimeout,
    Incomplete,
    ProtocolError,
    ReplyTooLarge,
)
"""Errors after which the provider may still charge: the request had left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """Time as a parameter, so that tests can own it."""

    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


FindModel = Callable[[str], Alternate | None]
"""The model that a reply calls by this name; None where there is none."""


class Journal:
    """What happens to one request, until it is closed into its entry.

    Args:
        request: as it arrived.
        book: where attempts become durable.
        deadline_s: on the monotonic clock, when everything has to be over.
        clocks: where time comes from.
        bills_on_cancel: whether a provider goes on charging for a reply that nobody reads.
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
        """What the latest call could not carry over to the provider; set before it is sent."""
        self.served: str | None = None
        """The model that answers the latest call; None before its first event."""
        self.find_served: FindModel = lambda _name: None
        """Asked for models that nobody has named beforehand; the pipeline sets it."""
        self._request = request
        self._book = book
        self._unwritten: list[Attempt] = []
        self._count = 0
        self._started_at = self.clocks.now()
        self._arrived_s = self.clocks.monotonic()
        self._first_sent_s: float | None = None
        self._first_event_s: float | None = None

    def set_request(self, request: ChatRequest) -> None:
        """The request as it will be sent; its labels are the entry's."""
        self._request = request

    def set_route(self, route: Route) -> None:
        """The decision; its task labels the entry."""
        self.route = route

    def remaining_s(self) -> float:
        """Seconds until the deadline; negative once it has passed."""
        return self.deadline_s - self.clocks.monotonic()

    async def begin(self, call: Call) -> MeteredAttempt:
        """Make an attempt durable before it is sent.

        Raises:
            BudgetExceeded, UnknownPrice, StoreError: as `Book.begin`; nothing may be sent then.
        """
        self._count += 1
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
        await self._book.begin(start, ended=tuple(self._unwritten))
        self._unwritten.clear()
        if self._first_sent_s is None:
            self._first_sent_s = self.clocks.monotonic()
        return MeteredAttempt(start, call.candidate, self)

    def resolve_served(self, candidate: Candidate, started: Started) -> tuple[str, Price | None]:
        """The model that answers, by the name it was asked for with, and its price."""
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
        """The first event of the reply has come, on the monotonic clock."""
        if self._first_event_s is None:
            self._first_event_s = at_s

    def end_attempt(self, attempt: Attempt) -> None:
        """An attempt is over; it is written with the next one or with the entry."""
        self.ended.append(attempt)
        self._unwritten.append(attempt)

    async def close(
        self, outcome: Outcome, *, error: BaseException | None = None, decision: str | None = None
    ) -> LedgerEntry:
        """Write the one entry of this request; on return it is durable.

        Raises:
            StoreError: as `Book.close`.
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
    """One call in flight: sees its events, then ends exactly once."""

    def __init__(self, start: AttemptStart, candidate: Candidate, journal: Journal) -> None:
        self._start = start
        self._candidate = candidate
        self._journal = journal
        self._sent_s = journal.clocks.monotonic()
        self._first_event_s: float | None = None
        self._started = Started()
        self._model, self._price = start.model, candidate.price
        self._finished: Finished | None = None
        self._answer_chars = 0
        self._reasoning_chars = 0

    def observe(self, event: Event) -> None:
        """Take an event in."""
        if self._first_event_s is None:
            self._first_event_s = self._journal.clocks.monotonic()
            self._journal.record_first_event(self._first_event_s)
        match event:
            case TextDelta():
                self._answer_chars += len(event.text)
            case ToolCallDelta():
                self._answer_chars += len(event.arguments)
            case ReasoningDelta():
                self._reasoning_chars += len(event.text)
            case Started():
                self._started = event
                self._model, self._price = self._journal.resolve_served(self._candidate, event)
            case Finished():
                self._finished = event
            case _:
                pass

    def end(self, error: BaseException | None) -> None:
        """The call is over: whole, failed with `error`, or left by its reader."""
        usage = self._usage()
        status, usd, text = self._cost(usage, error)
        self._journal.end_attempt(
            Attempt(
                attempt_id=self._start.attempt_id,
                number=self._start.number,
                model=self._model,
                started_at=self._start.started_at,
                outcome=self._outcome(error),
                cost_status=status,
                cost_usd=usd,
                cost_text=text,
                usage=usage if status != "void" else Usage(),
                provider=self._started.provider or getattr(error, "provider", None),
                generation_id=self._started.generation_id or getattr(error, "generation_id", None),
                finish_reason=self._finished.finish_reason if self._finished else None,
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
        if self._finished is not None:
            return "succeeded"
        return "failed" if isinstance(error, Exception) else "cancelled"

    def _usage(self) -> Usage:
        """The provider's counts, or our estimate of what was seen."""
        if self._finished is not None and self._finished.usage is not None:
            return self._finished.usage
        return Usage(
            output_tokens=round(self._answer_chars / CHARS_PER_TOKEN),
            reasoning_tokens=round(self._reasoning_chars / CHARS_PER_TOKEN),
        )

    def _cost(
        self, usage: Usage, error: BaseException | None
    ) -> tuple[CostStatus, Decimal, str | None]:
        if self._finished is not None and self._finished.cost is not None:
            cost = self._finished.cost
            text = cost.text if cost.total_usd == cost.usd else None
            return "settled", cost.total_usd, text
        if self._first_event_s is None and _is_never_billed(error):
            if self._candidate.first_fees_usd and _reached_a_provider(error):
                return "estimated", self._candidate.first_fees_usd, None
            return "void", Decimal(0), None
        return "estimated", self._estimate_usd(usage), None

    def _estimate_usd(self, usage: Usage) -> Decimal:
        """What the call may have cost: never less than is known, never 0 for a price above 0."""
        reserved = self._start.reserved_usd or Decimal(0)
        price = self._price
        is_counted = self._finished is not None and self._finished.usage is not None
        if price is None:
            return reserved
        if is_counted:
            counted = self._price_counted(price, usage, reserved)
            return max(reserved, counted) if self._candidate.has_fees else counted
        if (
            self._first_event_s is None
            or self._candidate.has_fees
            or self._journal.bills_on_cancel(self._started.provider)
        ):
            return reserved
        # the input was billed in full; how much it was, only the reservation tells
        observed_usd = price.completion * usage.completion_tokens
        return min(reserved, observed_usd + self._input_usd())

    def _price_counted(self, price: Price, usage: Usage, reserved: Decimal) -> Decimal:
        """The provider's counts at the listed price; each of several calls by itself."""
        iterations = self._finished.iterations if self._finished else ()
        if not iterations:
            return price.cost_usd(usage)
        total = sum((price.cost_usd(one.usage) for one in iterations), Decimal(0))
        own = (None, self._candidate.model, self._model)
        is_own = all(one.model in own for one in iterations)
        # an advisor is often dearer than the model it advises, and its price is not known here
        return total if is_own else max(total, reserved)

    def _input_usd(self) -> Decimal:
        """The input's share of the reservation."""
        reserved = self._start.reserved_usd or Decimal(0)
        price, max_output = self._candidate.price, self._candidate.max_output_tokens
        if price is None or max_output is None:
            return reserved
        return max(Decimal(0), reserved - price.worst_case_usd(0, max_output))


def _is_never_billed(error: BaseException | None) -> bool:
    """Whether a call that brought no event cannot have cost anything."""
    return isinstance(error, DevFlowError) and not isinstance(error, POSSIBLY_BILLED_ERRORS)


def _reached_a_provider(error: BaseException | None) -> bool:
    """Whether a provider has failed after what runs before it may have been billed."""
    return (
        isinstance(error, UpstreamError)
        and not isinstance(error, NotSent)
        and error.disposition is Disposition.RETRY
    )


def _error_code(error: BaseException | None) -> str | None:
    if error is None:
        return None
    return error.code if isinstance(error, DevFlowError) else type(error).__name__


def _elapsed_s(start_s: float, at_s: float | None) -> float | None:
    return None if at_s is None else at_s - start_s
