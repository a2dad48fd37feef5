"""Computes what a session used and cost, from its transcripts: a lower bound.

Titles, compactions, aborted and retried calls leave no rows; the gateway's ledger counts them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from devflow_core.usage import KnownCost, MissingCost, Price, Usage

from devflow_claude_code.reading.responses import unique_responses
from devflow_claude_code.reading.rows import TranscriptRow
from devflow_claude_code.reading.usage import Billing, TranscriptTokens, add_tokens, as_usage

PriceOf = Callable[[str], Price | None]
"""Returns the price of a model, by the name Claude Code recorded; None if it is unknown.

Fast and batch variants are requested as `claude-opus-4-8-fast` and `claude-opus-4-8:batch`.
"""

SYNTHETIC = "<synthetic>"
"""The model name of replies that the client made itself."""
UNKNOWN_MODEL = "unknown"
"""The name that stands for the model if a row names none."""
SEARCH_USD = Decimal("0.01")
"""The price of a web search by a Claude model: 10 USD per 1,000 (Anthropic, "Pricing", 2026-11)."""
US_ONLY_FACTOR = Decimal("1.1")
"""The factor on all token prices of a call kept within the United States (Anthropic, "Pricing")."""
_ORDINARY = Billing()


class PricedCall(NamedTuple):
    """One billed call of a model; a reply has several if others took part."""

    name: str
    """The name that `PriceOf` is asked for: the model with its speed and tier."""
    tokens: TranscriptTokens
    is_us_only: bool = False
    advisor: str | None = None
    """The other model that was asked; None for the reply's own."""

    def cost(self, price_of: PriceOf) -> KnownCost:
        """Return the cost of the call at today's prices.

        If the price is unknown, the cost is zero, and `missing` says why if there are any tokens.
        """
        price = None if self.name == UNKNOWN_MODEL else price_of(self.name)
        if price is not None:
            usd = price.cost_usd(as_usage(self.tokens))
            return KnownCost(usd=usd * US_ONLY_FACTOR if self.is_us_only else usd)
        if not any(self.tokens):
            return KnownCost()
        if self.name == UNKNOWN_MODEL:
            return _unknown("of an unknown model")
        return _unknown(
            f"of {self.name}",
            f"No price is known for {self.name}: `devflow models refresh` fetches the newest list,"
            f' or give one under [models."{self.name}"] in devflow.toml.',
        )


class Response(NamedTuple):
    """One reply of a model, with everything it is billed for."""

    model: str | None
    """The model as Claude Code recorded it; None if the row names none."""
    tokens: TranscriptTokens
    """The sum over all calls that made the reply."""
    billing: Billing = _ORDINARY

    def calls(self) -> Iterator[PricedCall]:
        """Yield the calls that made the reply; none if the recorded counts are impossible."""
        billing = self.billing
        # billing for such counts would put an absurd amount into every sum
        if billing.is_impossible:
            return
        for advisor, tokens in billing.calls or ((None, self.tokens),):
            name = advisor or (self.model and f"{self.model}{billing.variant}") or UNKNOWN_MODEL
            yield PricedCall(name, tokens, billing.is_us_only, advisor)

    def cost(self, price_of: PriceOf) -> KnownCost:
        """Return the cost of the reply at today's prices, and its parts without a known price."""
        parts = [call.cost(price_of) for call in self.calls()]
        parts += self.extras()
        # the ordinary reply, of which a long session has tens of thousands
        if len(parts) == 1:
            return parts[0]
        total = sum(parts, KnownCost())
        # however many parts lack a price, it is one reply
        return replace(total, missing=tuple(replace(one, replies=1) for one in total.missing))

    def extras(self) -> list[KnownCost]:
        """Return what the reply costs besides its calls: searches, and what has no known price."""
        parts = [_unknown(reason) for reason in self.billing.unpriced]
        if self.billing.is_impossible:
            parts.append(_unknown("with impossible token counts"))
        searches = self.billing.searches
        if searches and "claude" in (self.model or ""):
            parts.append(KnownCost(usd=searches * SEARCH_USD))
        elif searches:
            parts.append(_unknown("with web searches, whose price is only known for Claude models"))
        return parts


def _unknown(reason: str, remedy: str = "") -> KnownCost:
    return KnownCost(missing=(MissingCost(replies=1, reason=reason, remedy=remedy),))


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """The responses of a session, each counted once."""

    responses: tuple[Response, ...]

    def by_model(self) -> dict[str, TranscriptTokens]:
        """Return the tokens per model, sorted by name."""
        counts: dict[str, list[TranscriptTokens]] = {}
        for response in self.responses:
            for call in response.calls():
                counts.setdefault(call.name, []).append(call.tokens)
        return {name: add_tokens(counts[name]) for name in sorted(counts)}

    def unpriced_models(self, price_of: PriceOf) -> tuple[str, ...]:
        """Return the models that used tokens and whose price is unknown, sorted."""
        counts = self.by_model().items()
        return tuple(model for model, used in counts if any(used) and price_of(model) is None)

    def cost(self, price_of: PriceOf) -> KnownCost:
        """Return the cost at today's prices; "at least" if a part has no price."""
        usd, missing = Decimal(0), KnownCost()
        for response in self.responses:
            cost = response.cost(price_of)
            usd += cost.usd
            if cost.missing:
                missing += KnownCost(missing=cost.missing)
        return KnownCost(usd=usd, missing=missing.missing)

    def as_json(self, price_of: PriceOf) -> dict[str, Any]:
        """Return usage per model, cost and what the cost lacks as JSON values."""
        return {
            "usage": {model: tokens_json(one) for model, one in self.by_model().items()},
            **self.cost(price_of).as_json(),
            "unpriced_models": list(self.unpriced_models(price_of)),
        }


def fold_usage(rows: Iterable[TranscriptRow]) -> Spend:
    """Return the spend of the rows of one or several files, with each response counted once."""
    return spend_of(unique_responses(rows).values())


def spend_of(rows: Iterable[TranscriptRow]) -> Spend:
    """Return the spend of rows that each stand for one response; others are left out."""
    return Spend(responses=tuple(one for row in rows if (one := read_response(row))))


def read_response(row: TranscriptRow) -> Response | None:
    """Return what a row was billed for.

    None without usage, and for a row that names no model and used nothing, such as those that the
    client makes itself.
    """
    if row.tokens is None:
        return None
    model = None if row.model == SYNTHETIC else row.model
    if model is None and not any(row.tokens) and row.billing is None:
        return None
    return Response(model, row.tokens, row.billing or _ORDINARY)


class RecordedTurn(NamedTuple):
    """One call of a model: when it was made, in which conversation, and what it used."""

    started_at: datetime
    thread: str
    """The session's main chain, one sub-agent's, or an advisor's."""
    call: PricedCall

    @property
    def model(self) -> str:
        """The model, with the speed and tier it was billed at."""
        return self.call.name

    @property
    def usage(self) -> Usage:
        """The token counts of the call."""
        return as_usage(self.call.tokens)


def read_turns(rows: Sequence[TranscriptRow]) -> tuple[RecordedTurn, ...]:
    """Return the calls of a file, each once, by time; rows without a timestamp are left out."""
    roots: dict[str, str] = {}
    for row in rows:
        if row.uuid and row.is_sidechain:
            # rows come after their parents, so one pass finds the root of each sub-agent
            roots[row.uuid] = roots.get(row.parent or "", row.uuid)
    found: list[RecordedTurn] = []
    for row in unique_responses(rows).values():
        response, started_at = read_response(row), parse_time(row.timestamp)
        if response is None or started_at is None:
            continue
        thread = roots.get(row.uuid or "", "")
        for call in response.calls():
            of_call = f"{thread} {call.advisor}" if call.advisor else thread
            found.append(RecordedTurn(started_at, of_call, call))
    return tuple(sorted(found, key=lambda turn: turn.started_at))


def parse_time(timestamp: str) -> datetime | None:
    """Return the time of a row, with a time zone; None if it is not one."""
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def tokens_json(tokens: TranscriptTokens) -> dict[str, int]:
    """Return token counts as a JSON object, with cache writes by lifetime."""
    return {
        "input_tokens": tokens.input,
        "cache_read_tokens": tokens.cache_read,
        "cache_write_5m_tokens": tokens.cache_write_5m,
        "cache_write_1h_tokens": tokens.cache_write_1h,
        "output_tokens": tokens.output,
    }
