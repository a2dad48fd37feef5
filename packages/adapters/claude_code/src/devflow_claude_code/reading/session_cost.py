"""What a session used and cost, as far as its transcripts tell: a lower bound.

Titles, compactions, aborted and retried calls leave no row; the gateway's ledger counts them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from devflow_core.usage import Price, Usage, usd_text

from devflow_claude_code.reading.rows import TranscriptRow, TranscriptTokens

PriceOf = Callable[[str], Price | None]
"""The price of a model by the name Claude Code wrote down; None where it is not known."""

SYNTHETIC = "<synthetic>"
"""The model of replies that the client made itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """The responses of a session, each counted once."""

    responses: tuple[tuple[str, TranscriptTokens], ...]
    """Model and tokens."""

    def by_model(self) -> dict[str, TranscriptTokens]:
        """Tokens per model, the models in order of their names."""
        totals: dict[str, TranscriptTokens] = {}
        for model, tokens in self.responses:
            known = totals.get(model, TranscriptTokens(0, 0, 0, 0, 0))
            totals[model] = TranscriptTokens(*(a + b for a, b in zip(known, tokens, strict=True)))
        return dict(sorted(totals.items()))

    def unpriced_models(self, price_of: PriceOf) -> tuple[str, ...]:
        """Models whose price is not known."""
        return tuple(model for model in self.by_model() if price_of(model) is None)

    def cost_usd(self, price_of: PriceOf) -> Decimal | None:
        """What it cost at today's prices; None where one of them is not known."""
        total = Decimal(0)
        for model, tokens in self.responses:
            price = price_of(model)
            if price is None:
                return None
            total += price.cost_usd(as_usage(tokens))
        return total

    def as_json(self, price_of: PriceOf) -> dict[str, Any]:
        """`usage`, `cost_usd` and `unpriced_models` as the command line prints them."""
        cost = self.cost_usd(price_of)
        return {
            "usage": {model: tokens_json(one) for model, one in self.by_model().items()},
            "cost_usd": None if cost is None else usd_text(cost),
            "unpriced_models": list(self.unpriced_models(price_of)),
        }


def fold_usage(rows: Iterable[TranscriptRow]) -> Spend:
    """Fold rows, of one file or of several, into responses.

    A response is written once per content block, again when a session is forked, and with fewer
    tokens while it streams; so the key is the message's id alone (1.0 copies rows without their
    request id) and the row with most tokens counts, one of the main chain first.
    """
    return Spend(
        responses=tuple(
            (row.model, row.tokens) for row in _unique_responses(rows) if row.model and row.tokens
        )
    )


class RecordedTurn(NamedTuple):
    """One response: when it came, in which conversation, from whom, and its tokens."""

    started_at: datetime
    thread: str
    """The session's main chain, or one sub-agent's."""
    model: str
    usage: Usage


def read_turns(rows: Sequence[TranscriptRow]) -> tuple[RecordedTurn, ...]:
    """The responses of a file, each once, in order of time; rows without a time are left out."""
    roots: dict[str, str] = {}
    for row in rows:
        if row.uuid and row.is_sidechain:
            roots[row.uuid] = roots.get(row.parent or "", row.uuid)
    found = [
        RecordedTurn(started_at, roots.get(row.uuid or "", ""), row.model, as_usage(row.tokens))
        for row in _unique_responses(rows)
        if row.model and row.tokens and (started_at := _parse_time(row.timestamp))
    ]
    return tuple(sorted(found, key=lambda turn: turn.started_at))


def _unique_responses(rows: Iterable[TranscriptRow]) -> Iterable[TranscriptRow]:
    best: dict[str, TranscriptRow] = {}
    for row in rows:
        if row.tokens is None or row.model is None or row.model == SYNTHETIC:
            continue
        key = row.message_id or row.uuid or f"line {row.line}"
        known = best.get(key)
        if known is None or _priority(row) > _priority(known):
            best[key] = row
    return best.values()


def _parse_time(timestamp: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def as_usage(tokens: TranscriptTokens) -> Usage:
    """In the words of the core; Claude Code does not tell reasoning from other output."""
    return Usage(
        input_tokens=tokens.input,
        cache_read_tokens=tokens.cache_read,
        cache_write_tokens=tokens.cache_write_5m + tokens.cache_write_1h,
        cache_write_1h_tokens=tokens.cache_write_1h,
        output_tokens=tokens.output,
    )


def tokens_json(tokens: TranscriptTokens) -> dict[str, int]:
    """Tokens of one model as the command line prints them."""
    return {
        "input_tokens": tokens.input,
        "cache_read_tokens": tokens.cache_read,
        "cache_write_5m_tokens": tokens.cache_write_5m,
        "cache_write_1h_tokens": tokens.cache_write_1h,
        "output_tokens": tokens.output,
    }


def _priority(row: TranscriptRow) -> tuple[bool, int]:
    return not row.is_sidechain, sum(row.tokens or ())
