"""Walks a route: the first candidate that begins to answer gets the call, and keeps it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace

from devflow_core.errors import (
    AllCandidatesFailed,
    BudgetExceeded,
    CircuitOpen,
    DevFlowError,
    MachineExhausted,
    StillLimited,
)
from devflow_core.events import Event
from devflow_core.media_notes import describe_omission, replace_media
from devflow_core.ports import AttemptLog, Call, EventStream, Upstream
from devflow_core.request import ChatRequest
from devflow_core.routing import Candidate, Route
from devflow_core.scope import unknown_price_error
from devflow_core.statuses import Disposition
from devflow_core.usage import usd_text
from devflow_core.wrapping import WrappedCall

from devflow_upstream.policies.fallback_order import order_fallbacks
from devflow_upstream.policies.retry import RetryBudget, RetryPolicy, count_failed_attempts

_NOT_ASKED = (CircuitOpen, StillLimited)
"""Errors of candidates that were not called, because of earlier failures."""

CandidateCheck = Callable[[ChatRequest, Candidate], DevFlowError | None]
"""Returns why a candidate cannot take a request after all; None if it can."""


def check_cost_ceiling(request: ChatRequest, candidate: Candidate) -> DevFlowError | None:
    """Return an error if a candidate may cost more than the request allows; None otherwise.

    Under a ceiling, a candidate whose worst case is unknown is an error too.
    """
    ceiling_usd, worst_usd = request.max_cost_usd, candidate.worst_case_usd
    if ceiling_usd is None:
        return None
    if worst_usd is None:
        return unknown_price_error(candidate)
    if worst_usd <= ceiling_usd:
        return None
    return BudgetExceeded(
        f"{candidate.model} may cost up to {usd_text(worst_usd)} USD, over this request's ceiling"
        f" of {usd_text(ceiling_usd)} USD.",
        model=candidate.model,
    )


class FallbackChain:
    """An `Executor` that asks candidates in order, until one begins to answer.

    An error whose disposition is FAIL ends the walk at once; after any other, the kind of error
    decides which candidate is next (`order_fallbacks`). After a transient failure the next
    candidate is paid from the budget, and counts as an attempt; after a refusal or an open circuit
    it is free.

    Args:
        upstream: asked for each candidate.
        policy: how many attempts one request may take.
        budget: shared with the retries.
        check: run again before each candidate is asked; its error counts as the candidate's.
    """

    def __init__(
        self,
        upstream: Upstream,
        *,
        policy: RetryPolicy | None = None,
        budget: RetryBudget | None = None,
        check: CandidateCheck = check_cost_ceiling,
    ) -> None:
        self.upstream = upstream
        self.policy = policy or RetryPolicy()
        self.budget = budget or RetryBudget()
        self.check = check

    def open(self, request: ChatRequest, route: Route, journal: AttemptLog, /) -> EventStream:
        """Ask the candidates in order; if there is only one, its own error is raised unchanged.

        Raises:
            AllCandidatesFailed: several candidates failed; it holds all their errors.
            DevFlowError: the error of the only candidate that was tried; one error for all if none
                was called; or, at once, an error whose disposition is FAIL.
        """
        return _RouteWalk(self, request, route, journal)


class _RouteWalk(WrappedCall):
    """One request on its way through its candidates."""

    __slots__ = ("_chain", "_errors", "_is_paid", "_journal", "_request", "_route")

    def __init__(
        self, chain: FallbackChain, request: ChatRequest, route: Route, journal: AttemptLog
    ) -> None:
        super().__init__()
        self._chain = chain
        self._request = request
        self._route = route
        self._journal = journal
        self._errors: list[DevFlowError] = []
        self._is_paid = False
        """Whether the current candidate is paid from the budget."""

    async def __aenter__(self) -> AsyncIterator[Event]:
        remaining = self._route.candidates
        while remaining and self._take_attempt():
            candidate, remaining = remaining[0], remaining[1:]
            unfit = self._chain.check(self._request, candidate)
            try:
                if unfit is not None:
                    raise unfit
                return await self._open_candidate(candidate, is_last=not remaining)
            except DevFlowError as error:
                if error.disposition is Disposition.FAIL:
                    raise
                error.model = error.model or candidate.model
                self._errors.append(error)
                remaining = order_fallbacks(error, candidate, remaining)
        raise self._final_error()

    async def _open_candidate(self, candidate: Candidate, *, is_last: bool) -> AsyncIterator[Event]:
        call = Call(
            request=self._request, candidate=candidate, journal=self._journal, is_last=is_last
        )
        if candidate.unreadable_media:
            call = _without_media(call)
        self._journal.omitted = call.omitted
        try:
            events = await self._enter(self._chain.upstream.open(call))
        except (*_NOT_ASKED, MachineExhausted):  # no provider was asked: nothing to pay yet
            raise
        except DevFlowError:
            self._settle_payment(is_success=False)
            raise
        self._settle_payment(is_success=True)
        return events

    def _settle_payment(self, *, is_success: bool) -> None:
        if self._is_paid:
            self._is_paid = False
            self._chain.budget.fallbacks.end(is_success=is_success)

    def _take_attempt(self) -> bool:
        """Return whether time, attempts and budget are left for one more candidate."""
        last = self._errors[-1] if self._errors else None
        if last is None:
            return True
        if self._journal.remaining_s() <= 0:
            return False
        if last.disposition is not Disposition.RETRY:
            return True
        if count_failed_attempts(self._journal, last) < self._chain.policy.max_attempts:
            self._is_paid = self._chain.budget.fallbacks.begin()
        return self._is_paid

    def _final_error(self) -> DevFlowError:
        """Return one error for all: the only one, one of several alike, or all of them together."""
        errors = self._errors
        if len(errors) == 1 or all(isinstance(error, BudgetExceeded) for error in errors):
            return errors[-1]
        if all(isinstance(error, _NOT_ASKED) for error in errors):
            return min(errors, key=lambda error: error.retry_after_s or 0.0)
        failed = AllCandidatesFailed(tuple(errors))
        failed.__cause__ = errors[-1]
        return failed


def _without_media(call: Call) -> Call:
    """Return the call with a note in place of each medium that its candidate cannot take."""
    kinds = call.candidate.unreadable_media
    return replace(
        call,
        request=replace_media(call.request, kinds),
        omitted=tuple(describe_omission(one) for one in kinds),
    )
