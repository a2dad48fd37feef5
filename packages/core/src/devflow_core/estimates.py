"""Determines what a call has cost: the reported cost, or an estimate that is not below the bill."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
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
    Opaque,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
)
from devflow_core.ledger import CostDoubt, CostStatus
from devflow_core.routing import Candidate
from devflow_core.statuses import Disposition
from devflow_core.tokens import TextCounter, TokenizerFamily, family_of
from devflow_core.usage import Price, ReportedCost, ReportedUsage, Usage

_MAX_CHARS_PER_TOKEN = 2.48
"""The characters per token assumed for a reply without a count: few, so the bill is never higher.

German and Polish words have more tokens than the English ones that the estimate was fitted to.
"""
TOOL_CALL_TOKENS = 16
"""The tokens of a tool call besides its name and arguments: our guess, on the high side."""

_POSSIBLY_BILLED_ERRORS = (
    PossiblyAccepted,
    UpstreamTimeout,
    Incomplete,
    ProtocolError,
    ReplyTooLarge,
)
"""Errors after which the provider may still charge, since the request was sent."""


def may_be_billed(error: BaseException | None) -> bool:
    """Return whether a call that ended with this error before any event may have cost something.

    It may if there was no error (the reader left), or one that is not DevFlow's.

    A provider that answers with its own error has made no reply and charges nothing, even if it
    reports that something behind it took too long. A bare 504 or 524 comes from a proxy in front of
    it, which does not know whether a reply was made.
    """
    if isinstance(error, UpstreamError) and error.is_unbilled:
        return False
    return not isinstance(error, DevFlowError) or isinstance(error, _POSSIBLY_BILLED_ERRORS)


class SeenReply:
    """The part of a reply that was seen: how much text, and the reported counts and cost."""

    __slots__ = (
        "_answer",
        "_calls",
        "_has_more",
        "_reasoning",
        "finished",
        "has_begun",
        "reported",
    )

    def __init__(self) -> None:
        self.has_begun = False
        """Whether any event has come."""
        self.finished: Finished | None = None
        self.reported = ReportedUsage()
        """The latest report; the `Finished` of a reply repeats it."""
        self._has_more = False
        """Whether content came after `reported`."""
        self._answer = TextCounter()
        self._reasoning = TextCounter()
        self._calls = 0

    def add(self, event: Event) -> None:
        """Record an event."""
        self.has_begun = True
        match event:
            case TextDelta():
                self._answer.add(event.text)
                self._has_more = True
            case ReasoningDelta():
                self._reasoning.add(event.text or event.encrypted or "")
                self._has_more = True
            case ToolCallDelta():
                self._add_call(event)
            case Started() | Opaque():
                self._add_frame(event)
            case _:
                self._finish(event)

    def _add_call(self, event: ToolCallDelta) -> None:
        self._calls += event.name is not None
        self._answer.add((event.name or "") + event.arguments)
        self._has_more = True

    def _add_frame(self, event: Started | Opaque) -> None:
        if isinstance(event, Opaque) and event.is_content:
            self._answer.pieces += 1
            self._has_more = True
        if event.reported is not None:
            self.reported, self._has_more = event.reported, False

    def _finish(self, event: Finished) -> None:
        self.finished = event
        if event.usage is None or event.usage != self.reported.usage:
            self._has_more = False
        self.reported = ReportedUsage(
            usage=event.usage,
            iterations=event.iterations,
            cost=event.cost,
            has_bad_cost=event.has_bad_cost,
        )

    @property
    def is_counted(self) -> bool:
        """Whether the provider has counted the whole reply, with no fewer tokens than were seen."""
        usage = self.reported.usage
        if self.finished is None or usage is None or self._has_more:
            return False
        seen = self._answer.min_tokens + self._reasoning.min_tokens
        return usage.completion_tokens >= seen

    def usage(self, input_tokens: int | None, family: TokenizerFamily) -> Usage:
        """Return the provider's counts, or upper estimates where they do not cover the whole reply.

        Args:
            input_tokens: our estimate of the input; None counts as 0.
            family: the tokenizer family of the model that answered.
        """
        usage = self.reported.usage or Usage()
        if self.is_counted:
            return usage
        if usage.prompt_tokens == 0:
            usage = replace(usage, input_tokens=input_tokens or 0)
        return replace(
            usage,
            output_tokens=max(
                usage.output_tokens,
                _upper_tokens(self._answer, family) + TOOL_CALL_TOKENS * self._calls,
            ),
            reasoning_tokens=max(usage.reasoning_tokens, _upper_tokens(self._reasoning, family)),
        )


def _upper_tokens(text: TextCounter, family: TokenizerFamily) -> int:
    """Return the upper estimate, at least one token for each piece and each few characters."""
    by_length = math.ceil(text.chars / _MAX_CHARS_PER_TOKEN)
    return max(text.pieces, by_length, text.size.upper_tokens(family))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """A call that has ended, with everything that decides its cost."""

    candidate: Candidate
    model: str
    """The model that answered."""
    price: Price | None
    """The price of the model that answered; None if it is unknown."""
    reserved_usd: Decimal | None
    """The worst case that was reserved; None if it was unknown."""
    seen: SeenReply
    error: BaseException | None
    """The error that ended the call; None if there was none."""
    bills_on: Callable[[str | None], bool]
    """Returns whether a provider keeps charging for a reply that is no longer read."""
    provider: str | None
    """The provider that answered; None if it was not reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssessedCost:
    """The cost that is booked for a call; fields as in `Attempt`, without their prefix `cost_`."""

    status: CostStatus
    usd: Decimal
    text: str | None = None
    usage: Usage
    is_usage_estimated: bool = False
    doubt: CostDoubt | None = None
    observed_usd: Decimal | None = None


def assess_cost(ending: Ending) -> AssessedCost:
    """Return what is booked for an ended call: the reported cost, an upper estimate, or 0.

    It is 0, and void, if no event came and the error says that nothing can be billed.
    """
    seen, candidate = ending.seen, ending.candidate
    cost, usage = seen.reported.cost, seen.usage(candidate.input_tokens, family_of(ending.model))
    doubt = _find_doubt(ending, cost)
    if cost is not None and doubt in (None, "above_reserve"):
        is_sure = doubt is None
        return AssessedCost(
            # a cost above the reservation is booked in full, and confirmed later
            status="settled" if is_sure else "estimated",
            usd=cost.total_usd,
            text=cost.text if is_sure and cost.total_usd == cost.usd else None,
            usage=seen.reported.usage or usage,
            is_usage_estimated=seen.reported.usage is None,
            doubt=doubt,
            observed_usd=None if is_sure else cost.total_usd,
        )
    if not seen.has_begun and not may_be_billed(ending.error):
        fees_usd = candidate.first_fees_usd if _reached_a_provider(ending.error) else Decimal(0)
        status: CostStatus = "estimated" if fees_usd else "void"
        observed_usd = fees_usd or None
        return AssessedCost(status=status, usd=fees_usd, observed_usd=observed_usd, usage=Usage())
    observed_usd = _observe_usd(ending, usage)
    usd = _estimate_usd(ending, observed_usd)
    if cost is not None:
        usd = max(usd, cost.usd, cost.upstream_usd or Decimal(0))
    return AssessedCost(
        status="estimated",
        usd=usd,
        usage=usage,
        is_usage_estimated=not seen.is_counted,
        doubt=doubt or find_confirmed_doubt(usd, ending.reserved_usd),
        observed_usd=observed_usd,
    )


def find_confirmed_doubt(usd: Decimal, reserved_usd: Decimal | None) -> CostDoubt | None:
    """Return `above_reserve` if a cost exceeds what was reserved, otherwise None."""
    return "above_reserve" if reserved_usd is not None and usd > reserved_usd else None


def _find_doubt(ending: Ending, cost: ReportedCost | None) -> CostDoubt | None:
    """Return why a reported cost is doubted; None if it is not.

    A call over a provider key of the user's own may cost nothing here. Neither does a reply from
    the provider's cache (its counts are 0), nor one that is empty or ended in an error: those are
    not charged.
    """
    if cost is None:
        return "no_amount" if ending.seen.reported.has_bad_cost else None
    reported, finished = ending.seen.reported, ending.seen.finished
    if not cost.is_byok and cost.upstream_usd is not None and finished is not None:
        if cost.usd == 0 < cost.upstream_usd:
            return "zero"
        if cost.usd < cost.upstream_usd * _ROUNDED:
            return "below_upstream"
    usage = reported.usage
    is_answer = finished is not None and usage is not None and usage.completion_tokens > 0
    if is_answer and not cost.is_byok and cost.total_usd == 0:
        assert usage is not None  # noqa: S101 - looked at above
        if ending.price is not None and ending.price.cost_usd(usage) > 0:
            return "zero"
    return find_confirmed_doubt(cost.total_usd, ending.reserved_usd)


_ROUNDED = Decimal("0.999")
"""The tolerance of amounts whose parts are each rounded."""


def _observe_usd(ending: Ending, usage: Usage) -> Decimal | None:
    """Return what is known to have been used, at the listed price and with the fees so far.

    None if there is no price. Our own counts are capped at the reservation; the provider's are not.
    """
    price, reserved = ending.price, ending.reserved_usd
    if price is None:
        return None
    reported = ending.seen.reported
    if ending.seen.is_counted:
        return _price_counted(ending, price, usage) + ending.candidate.first_fees_usd
    out = price.resolve_tier(usage.prompt_tokens)
    dearest_out = max(out.completion, out.reasoning or Decimal(0))
    counted = reported.usage is not None and reported.usage.prompt_tokens > 0
    only_input = replace(usage, output_tokens=0, reasoning_tokens=0)
    input_usd = price.cost_usd(only_input) if counted else _input_usd(ending, price)
    usd = input_usd + dearest_out * usage.completion_tokens
    usd += ending.candidate.first_fees_usd
    return usd if reserved is None else min(reserved, usd)


def _input_usd(ending: Ending, served: Price) -> Decimal:
    """Return the most the input can cost: its share of the reservation, if that has no fees."""
    candidate = ending.candidate
    price, reserved = candidate.price, ending.reserved_usd
    usd = served.worst_case_usd(candidate.input_tokens or 0, 0)
    if candidate.has_fees or price is None or reserved is None:
        return usd
    output_tokens = candidate.max_output_tokens
    if output_tokens is None:
        return max(usd, reserved if candidate.input_tokens is None else usd)
    return max(usd, reserved - price.worst_case_usd(0, output_tokens))


def _estimate_usd(ending: Ending, observed_usd: Decimal | None) -> Decimal:
    """Return what is booked until the cost is confirmed: never less than what is known."""
    reserved, seen = ending.reserved_usd, ending.seen
    if observed_usd is None:
        return reserved or Decimal(0)
    if reserved is None:
        return observed_usd
    if ending.candidate.has_fees:
        return max(reserved, observed_usd)
    is_whole = seen.finished is not None
    if not is_whole and (not seen.has_begun or ending.bills_on(ending.provider)):
        return max(reserved, observed_usd)
    return observed_usd


def _price_counted(ending: Ending, price: Price, usage: Usage) -> Decimal:
    """Return the provider's counts at the listed price, each of several calls separately."""
    iterations = ending.seen.reported.iterations
    if not iterations:
        return price.cost_usd(usage)
    total = sum((price.cost_usd(one.usage) for one in iterations), Decimal(0))
    own = (None, ending.candidate.model, ending.model)
    is_own = all(one.model in own for one in iterations)
    # an advisor often costs more than the model it advises, and its price is not known here
    return total if is_own else max(total, ending.reserved_usd or Decimal(0))


def _reached_a_provider(error: BaseException | None) -> bool:
    """Return whether a provider failed, so that steps before it (a search) may be billed."""
    return (
        isinstance(error, UpstreamError)
        # a `ProtocolError` before any event is a redirect, which no provider has handled
        and not isinstance(error, NotSent | ProtocolError)
        and error.disposition is Disposition.RETRY
    )
