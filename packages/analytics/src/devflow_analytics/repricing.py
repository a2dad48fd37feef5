"""Computes what recorded work would have cost with other models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from devflow_core.ledger import LedgerEntry
from devflow_core.usage import KnownCost, MissingCost, Usage, usd_text

from devflow_analytics.cache_simulation import Turn, rules_of, simulate
from devflow_analytics.savings import PriceOf

CAVEATS = (
    "Other tokenizers: the recorded counts are used as they are; another model may count the same "
    "text as 10 to 30 % fewer or more tokens.",
    "Other replies: another model writes shorter or longer, reasons more or less, and may need "
    "more or fewer turns for the same work.",
    "Quality: nothing here says that another model would have done the work.",
    "The cache: whether a prefix would have been kept is simulated from published rules; providers "
    "drop entries early and route elsewhere.",
    "Searches and other calls of a provider's tools: they are in what was recorded, not in what "
    "other models would have cost.",
    "Prices are the present list prices of the catalogue, for the whole of the record.",
)
"""The caveats of a repriced record, which are part of every result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """The recorded work on one other model."""

    model: str
    cost_usd: Decimal | None
    """The cost of the work with this model; None if its price is unknown."""
    usage: Usage
    """The tokens of all turns, with the model's own prompt cache; all 0 if the price is unknown."""
    notes: tuple[str, ...]
    """Notes on how the model caches, and on what speaks against it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    """The recorded turns in order, with what they cost together."""

    turns: Sequence[Turn]
    cost: KnownCost
    id_of: Callable[[str], str]

    def is_at(self, turn: Turn, model: str) -> bool:
        """Return whether a turn was recorded at the model of this id."""
        return self.id_of(turn.model) == model


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """Recorded work, and what it would have cost with other models."""

    turns: int
    """The number of recorded calls."""
    recorded: KnownCost
    """The cost of the recorded work; a lower bound if a price is unknown."""
    recorded_models: tuple[str, ...]
    alternatives: tuple[Alternative, ...]
    """The alternatives in the order in which they were asked for, each once."""

    def as_json(self) -> dict[str, Any]:
        """Return JSON values; money is decimal text in USD, and a negative difference is a saving.

        The difference is None if either cost is not completely known.
        """
        return {
            "turns": self.turns,
            "recorded": {
                "models": list(self.recorded_models),
                **self.recorded.as_json(),
            },
            "models": [self._alternative_as_json(one) for one in self.alternatives],
            "unknowns": list(CAVEATS),
        }

    def _alternative_as_json(self, alternative: Alternative) -> dict[str, Any]:
        difference = None
        # against a lower bound, a difference would look like a saving
        if alternative.cost_usd is not None and self.recorded.is_complete:
            difference = alternative.cost_usd - self.recorded.usd
        return {
            "model": alternative.model,
            "cost_usd": _format_usd(alternative.cost_usd),
            "difference_usd": _format_usd(difference),
            "input_tokens": alternative.usage.input_tokens,
            "cache_read_tokens": alternative.usage.cache_read_tokens,
            "cache_write_tokens": alternative.usage.cache_write_tokens,
            "output_tokens": alternative.usage.output_tokens,
            "reasoning_tokens": alternative.usage.reasoning_tokens,
            "notes": list(alternative.notes),
        }


def whatif(
    turns: Iterable[Turn],
    models: Sequence[str],
    *,
    price_of: PriceOf,
    window_of: Callable[[str], int | None] = lambda _: None,
    recorded: KnownCost | None = None,
    id_of: Callable[[str], str] = lambda name: name,
) -> WhatIf:
    """Price recorded work on other models, simulating each one's prompt cache.

    What was recorded at a model itself stays as it was: its tokens and its cost. A model at which
    all of it was recorded thus costs what was recorded.

    Args:
        turns: the recorded calls, in any order.
        models: those to compare; several names of one model count once.
        price_of: returns the present price of a model.
        window_of: returns the context window of a model, in tokens; None if unknown.
        recorded: what the record cost, if the caller knows it better than the turns do.
        id_of: returns the one id of a model that goes by several names.
    """
    ordered = sorted(turns, key=lambda turn: turn.started_at)
    if recorded is None:
        recorded = sum((_recorded_cost(turn, price_of) for turn in ordered), KnownCost())
    return WhatIf(
        turns=len(ordered),
        recorded=recorded,
        recorded_models=tuple(dict.fromkeys(turn.model for turn in ordered)),
        alternatives=tuple(
            _price_alternative(
                _Record(turns=ordered, cost=recorded, id_of=id_of), model, price_of, window_of
            )
            for model in dict.fromkeys(map(id_of, models))
        ),
    )


def turns_of(entries: Iterable[LedgerEntry]) -> Iterator[Turn]:
    """Yield the answered requests of a ledger as turns, with the cost of all their attempts.

    Requests that failed or used no tokens are left out.
    """
    for entry in entries:
        final, attribution = entry.final_attempt, entry.attribution
        # a request without an answer would have had to be repeated elsewhere as well
        if final is None or not final.usage.total_tokens or entry.outcome != "succeeded":
            continue
        yield Turn(
            thread=f"{attribution.session_id}/{attribution.agent}"
            if attribution.session_id
            else entry.entry_id,
            started_at=final.started_at,
            model=final.model,
            usage=final.usage,
            cost_usd=entry.cost_usd,
        )


def _recorded_cost(turn: Turn, price_of: PriceOf) -> KnownCost:
    if turn.cost_usd is not None:
        return KnownCost(usd=turn.cost_usd)
    price = price_of(turn.model)
    if price is not None:
        return KnownCost(usd=price.cost_usd(turn.usage))
    return KnownCost(missing=(MissingCost(replies=1, reason=f"of {turn.model}"),))


def _price_alternative(
    record: _Record, model: str, price_of: PriceOf, window_of: Callable[[str], int | None]
) -> Alternative:
    turns = record.turns
    is_same = [record.is_at(turn, model) for turn in turns]
    if turns and all(is_same):
        return Alternative(
            model=model,
            cost_usd=record.cost.usd,
            usage=sum((turn.usage for turn in turns), Usage()),
            notes=("as recorded",) if record.cost.is_complete else ("as recorded, at least",),
        )
    price = price_of(model)
    if price is None:
        return Alternative(
            model=model, cost_usd=None, usage=Usage(), notes=("the price is unknown",)
        )
    rules = rules_of(model, price)
    # the recorded cache counts are the recorded provider's, so each other model gets its own
    usages = [
        turn.usage if same else usage
        for turn, same, usage in zip(turns, is_same, simulate(turns, rules), strict=True)
    ]
    costs = [
        turn.cost_usd if same and turn.cost_usd is not None else price.cost_usd(usage)
        for turn, same, usage in zip(turns, is_same, usages, strict=True)
    ]
    same = sum(is_same)
    return Alternative(
        model=model,
        cost_usd=sum(costs, Decimal(0)),
        usage=sum(usages, Usage()),
        notes=(
            *((f"{same} of {len(turns)} turns as recorded",) if same else ()),
            rules.describe(),
            *_window_notes(usages, window_of(model)),
        ),
    )


def _window_notes(usages: Sequence[Usage], window: int | None) -> Iterator[str]:
    over = sum(window is not None and usage.prompt_tokens > window for usage in usages)
    if over:
        yield f"{over} of {len(usages)} prompts are longer than its window of {window:,} tokens"


def _format_usd(usd: Decimal | None) -> str | None:
    return None if usd is None else usd_text(usd)
