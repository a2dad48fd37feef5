"""Checks whole answers, and lets the next better model answer where one is refused."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal

from devflow_core.errors import DevFlowError
from devflow_core.events import Event
from devflow_core.ports import AttemptLog, EventStream, Executor, Router
from devflow_core.request import ChatRequest
from devflow_core.response import ChatResponse, Collector
from devflow_core.routing import Candidate, CheckOutcome, CheckStep, Route, VerificationRecord
from devflow_core.scope import filter_by_scope
from devflow_core.served_model import recorded_name
from devflow_core.statuses import Disposition
from devflow_core.verification import CheckedAnswer, Verdict, Verification

from devflow_upstream.checks.table import build_checks, build_last_resort


class Verifying:
    """An `Executor` that gives out only whole answers that were checked, where that is asked for.

    All other requests go straight to the inner one.

    Args:
        inner: asks the candidates.
        router: finds the models that checks ask.
        usual: the checks of requests that bring none.
    """

    def __init__(
        self, inner: Executor, router: Router, *, usual: Verification | None = None
    ) -> None:
        self._inner = inner
        self._router = router
        self._usual = usual or Verification()

    def open(self, request: ChatRequest, route: Route, journal: AttemptLog, /) -> EventStream:
        """Ask the candidates; entered with an answer that was accepted, or that no check can judge.

        Where a check refuses an answer, or cannot decide, the next better candidate is asked. If
        none is left, or the caller's time or money is spent, the last answer is given all the same.
        `Route.verification` of the journal's route says how each answer was checked.

        Raises:
            AllCandidatesFailed, DevFlowError: on entry, if no candidate answered.
            ConfigurationError: a check cannot be made; nothing was sent.
        """
        if not route.is_verified and request.verification is None:
            return self._inner.open(request, route, journal)
        return self._open(request, route, journal)

    @asynccontextmanager
    async def _open(
        self, request: ChatRequest, route: Route, journal: AttemptLog
    ) -> AsyncGenerator[AsyncIterator[Event]]:
        wanted = request.verification or self._usual
        walk = _Escalation(self._inner, self._router, request, route, journal, wanted)
        yield _replay(await walk.run())


@dataclass(frozen=True, slots=True)
class _Given:
    """A whole reply, with what the client is told of it."""

    events: list[Event]
    answer: CheckedAnswer
    number: int
    cost_usd: Decimal
    omitted: tuple[str, ...]


class _Escalation:
    """One request on its way from the cheapest candidate to an answer that is accepted."""

    def __init__(
        self,
        inner: Executor,
        router: Router,
        request: ChatRequest,
        route: Route,
        journal: AttemptLog,
        wanted: Verification,
    ) -> None:
        self._inner = inner
        self._router = router
        self._request = request
        self._route = route
        self._journal = journal
        self._wanted = wanted
        self._checks = build_checks(wanted)
        self._last_resort = build_last_resort(wanted)
        self._steps: list[CheckStep] = []
        self._stopped_by = ""
        self.earlier: list[CheckedAnswer] = []
        self.can_go_on = False
        self.asked_usd = Decimal(0)

    async def run(self) -> list[Event]:
        """Return the events of the answer that is given.

        Raises:
            DevFlowError: no candidate answered.
        """
        remaining: Sequence[Candidate] = self._route.candidates
        given: _Given | None = None
        failed: DevFlowError | None = None
        while remaining:
            try:
                latest = await self._answer(remaining)
            except _BrokenOff as broken:
                failed, remaining = broken.error, _after(remaining, broken.model)
                continue
            except DevFlowError as error:
                failed = error
                break
            given, failed, remaining = latest, None, _after(remaining, latest.answer.model)
            self.can_go_on = bool(remaining) and self._journal.remaining_s() > 0
            verdict = await self._check(given)
            if verdict is None or verdict.is_accepted or not self.can_go_on:
                break
            remaining = remaining[-1:] if verdict.wants_best else remaining
        if given is None:
            assert failed is not None  # noqa: S101 - a route has candidates
            raise failed
        self._give(given, stopped_by=failed.code if failed else "")
        return given.events

    async def ask(self, request: ChatRequest, /) -> CheckedAnswer:
        journal, before = self._journal, len(self._journal.ended)
        served, omitted = journal.served, journal.omitted
        request = replace(request, max_cost_usd=self._left_usd(request.max_cost_usd))
        try:
            route = filter_by_scope(request, self._router.route(request, self._route.task))
            collector = Collector()
            async with self._inner.open(request, route, journal) as events:
                async for event in events:
                    collector.add(event)
            return _to_answer(collector.to_response(), journal.served)
        finally:
            for one in tuple(journal.ended[before:]):
                journal.note_check(one.number, "asked")
                self.asked_usd += one.cost_usd
            journal.served, journal.omitted = served, omitted

    def _left_usd(self, limit: Decimal | None) -> Decimal | None:
        """Return the smaller of a limit and of what is left of the request's own, or None."""
        own = self._request.max_cost_usd
        if own is None:
            return limit
        spent = sum((one.cost_usd for one in self._journal.ended), Decimal(0))
        left = max(Decimal(0), own - spent)
        return left if limit is None else min(left, limit)

    async def _answer(self, remaining: Sequence[Candidate]) -> _Given:
        """Return the whole reply of the first candidate that gives one.

        Raises:
            _BrokenOff: a candidate began to answer and failed; another one may be asked.
            DevFlowError: no candidate began to answer.
        """
        journal, has_begun = self._journal, False
        request = replace(self._request, max_cost_usd=self._left_usd(None))
        route = replace(self._route, candidates=tuple(remaining))
        events: list[Event] = []
        collector = Collector()
        try:
            async with self._inner.open(request, route, journal) as stream:
                has_begun = True
                async for event in stream:
                    events.append(event)
                    collector.add(event)
        except DevFlowError as error:
            if has_begun and error.disposition is not Disposition.FAIL:
                raise _BrokenOff(error, journal.served or "") from error
            raise
        response = collector.to_response()
        ended = journal.ended[-1] if journal.ended else None
        return _Given(
            events=events,
            answer=_to_answer(response, journal.served),
            number=ended.number if ended else 0,
            cost_usd=ended.cost_usd if ended else Decimal(0),
            omitted=journal.omitted,
        )

    async def _check(self, given: _Given) -> Verdict | None:
        """Return the verdict on an answer, and record it; None if no check applies."""
        before_usd = self.asked_usd
        name, verdict = await self._find_verdict(given.answer)
        step = CheckStep(
            number=given.number,
            model=given.answer.model,
            outcome="unjudged" if verdict is None else _outcome_of(verdict),
            check=name,
            reason=verdict.reason if verdict else "no check applies to it",
            cost_usd=given.cost_usd,
            check_usd=self.asked_usd - before_usd,
        )
        self._add(step)
        if verdict is not None and verdict.agreeing:
            self._settle_earlier(name, verdict.agreeing)
        self.earlier.append(given.answer)
        if self._wanted.on_step is not None:
            self._wanted.on_step(step, verdict.detail if verdict else "")
        return verdict

    async def _find_verdict(self, answer: CheckedAnswer) -> tuple[str, Verdict | None]:
        """Return the first verdict that does not accept an answer, or else the last one that does.

        With the name of its check; ("", None) if no check applies.
        """
        found: tuple[str, Verdict | None] = ("", None)
        for check in self._checks:
            verdict = await check.judge(self._request, answer, self)
            if verdict is not None and not verdict.is_accepted:
                return check.name, verdict
            if verdict is not None:  # the later ones say more
                found = check.name, verdict
        if found[1] is None and self._last_resort is not None:
            verdict = await self._last_resort.judge(self._request, answer, self)
            found = ("", None) if verdict is None else (self._last_resort.name, verdict)
        return found

    def _settle_earlier(self, name: str, agreeing: Sequence[int]) -> None:
        """Decide on the earlier answers that this check could not decide on alone."""
        for place, step in enumerate(self._steps[:-1]):
            if step.check == name and step.outcome == "undecided":
                self._steps[place] = (
                    replace(step, outcome="accepted", reason="a later model agrees")
                    if place in agreeing
                    else replace(step, outcome="refused", reason="others agree on another answer")
                )
                self._journal.note_check(step.number, self._steps[place].outcome)

    def _add(self, step: CheckStep) -> None:
        self._steps.append(step)
        self._journal.note_check(step.number, step.outcome)
        self._record()

    def _give(self, given: _Given, *, stopped_by: str) -> None:
        self._journal.served, self._journal.omitted = given.answer.model, given.omitted
        self._stopped_by = stopped_by
        self._record()

    def _record(self) -> None:
        """Keep the record in the route, also if the request ends before an answer is given."""
        record = VerificationRecord(steps=tuple(self._steps), stopped_by=self._stopped_by)
        self._journal.set_route(replace(self._route, is_verified=True, verification=record))


class _BrokenOff(Exception):
    """A candidate that had begun to answer has failed."""

    def __init__(self, error: DevFlowError, model: str) -> None:
        super().__init__(error.message)
        self.error, self.model = error, model


def _outcome_of(verdict: Verdict) -> CheckOutcome:
    if verdict.is_accepted:
        return "accepted"
    return "undecided" if verdict.is_undecided else "refused"


def _to_answer(response: ChatResponse, served: str | None) -> CheckedAnswer:
    return CheckedAnswer(
        text=response.text,
        tool_calls=response.tool_calls,
        finish_reason=response.finish_reason,
        model=served or response.model or "",
    )


def _after(candidates: Sequence[Candidate], model: str) -> Sequence[Candidate]:
    """Return the candidates after the one that answered: those before it have failed, or are worse.

    If another model stood in for it, only the first is left out.
    """
    for place, one in enumerate(candidates):
        if model in (recorded_name(one), one.slug):
            return candidates[place + 1 :]
    return candidates[1:]


async def _replay(events: Sequence[Event]) -> AsyncIterator[Event]:
    for event in events:
        yield event
