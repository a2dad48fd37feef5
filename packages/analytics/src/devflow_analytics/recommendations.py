"""Recommends how to save money, based only on evidence in the ledger, with the amount."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from decimal import Decimal

from devflow_core.dimensions import GroupBy
from devflow_core.summary import Groups, Summary
from devflow_core.usage import Usage, format_usd, from_pico

from devflow_analytics.formats.figures import format_percent
from devflow_analytics.report import Recommendation
from devflow_analytics.savings import PriceOf, linear_cost_usd

TASK_GROUPING: tuple[GroupBy, ...] = ("model", "task")
SESSION_GROUPING: tuple[GroupBy, ...] = ("model", "session", "error")
"""With `TASK_GROUPING`, the groupings of the ledger that `recommend` needs.

One of all four would have as many groups as some ledgers have requests.
"""

MAX_RECOMMENDATIONS = 10
"""The most recommendations returned; the others would save less."""
MIN_USD = Decimal("0.01")
"""The smallest saving in USD worth a recommendation; smaller ones are noise."""
MIN_SHARE = Decimal("0.05")
"""The smallest saving worth a recommendation, as a share of the model's cost."""
MIN_REQUESTS = 30
"""The fewest requests to each of two models for comparing their success."""
MAX_SUCCESS_DROP = 0.05
"""The most by which the cheaper model may succeed less often, at its 95 % interval's lower end."""
MIN_TURNS = 4
"""The fewest turns of a session that is judged: with few, little input was seen before (2/n)."""
MIN_PROMPT_TOKENS = 4096
"""The smallest mean prompt of a session that is judged; some providers cache no shorter ones."""
CALLER_ERRORS = frozenset(
    {
        "cancelled",
        "CancelledError",
        "GeneratorExit",
        "invalid_request",
        "context_length_exceeded",
        "payload_too_large",
        "budget_exceeded",
        "unknown_price",
        "queue_full",
        "store_unavailable",
    }
)
"""Error codes that say nothing about the model."""


def recommend(by_task: Groups, by_session: Groups, price_of: PriceOf) -> tuple[Recommendation, ...]:
    """Return what would have saved money, largest amount first; the amounts overlap.

    Args:
        by_task: the ledger, grouped by `TASK_GROUPING`.
        by_session: the ledger, grouped by `SESSION_GROUPING`.
        price_of: returns the present price of a model; models without one are not compared.
    """
    found = [
        *_find_cheaper_models(_regroup(by_task, 1, 0), price_of),
        *_find_broken_caches(_regroup(by_session, 0, 1), price_of),
        *_find_wasted_attempts(by_session),
    ]
    # the text makes equal amounts come in the same order every time
    found.sort(key=lambda one: (-one.saves_usd, one.text))
    return tuple(found[:MAX_RECOMMENDATIONS])


def _regroup(groups: Groups, first: int, second: int) -> dict[str, dict[str, Summary]]:
    """Sum the groups by two of their dimensions."""
    found: dict[str, dict[str, Summary]] = {}
    for key, summary in groups.items():
        inner = found.setdefault(key[first], {})
        inner_key = key[second]
        inner[inner_key] = inner[inner_key] + summary if inner_key in inner else summary
    return found


def _find_cheaper_models(
    by_task: Mapping[str, Mapping[str, Summary]], price_of: PriceOf
) -> Iterator[Recommendation]:
    """Find, for each task, the models that a cheaper one with equal success could replace."""
    for task, models in by_task.items():
        proven = {model: one for model, one in models.items() if one.requests >= MIN_REQUESTS}
        switches: dict[str, dict[str, Decimal]] = {}
        for model, dear in proven.items() if task else ():
            best = _find_cheapest_equal(model, proven, price_of)
            cost_usd = from_pico(dear.cost_pico)
            if best and cost_usd - best[0] >= max(MIN_USD, MIN_SHARE * cost_usd):
                switches.setdefault(best[1], {})[model] = best[0]
        yield from (
            _recommend_switch(task, cheap, replaced, proven) for cheap, replaced in switches.items()
        )


def _find_cheapest_equal(
    model: str, proven: Mapping[str, Summary], price_of: PriceOf
) -> tuple[Decimal, str] | None:
    """Return the lowest cost of these tokens at another model of equal success, and that model.

    None if there is no such model.
    """
    dear = proven[model]
    costs: list[tuple[Decimal, str]] = []
    for other, summary in proven.items():
        price = price_of(other)
        if other == model or price is None:
            continue
        if (
            # The candidate's success may be luck, so its lower bound counts; the present model is
            # taken at its rate. This errs towards recommending nothing.
            _lower_bound(_successes(summary), summary.requests)
            >= _success_rate(dear) - MAX_SUCCESS_DROP
        ):
            costs.append((linear_cost_usd(price, dear.usage, requests=dear.requests), other))
    return min(costs, default=None)


def _recommend_switch(
    task: str, cheap: str, replaced: Mapping[str, Decimal], proven: Mapping[str, Summary]
) -> Recommendation:
    """Recommend `cheap` instead of the models in `replaced`, given what it would have cost."""
    cost_usd = from_pico(sum(proven[model].cost_pico for model in replaced))
    would_usd = sum(replaced.values(), Decimal(0))
    others = ", ".join(f"{model} ({_success_text(proven[model])})" for model in sorted(replaced))
    return Recommendation(
        text=(
            f"Try {cheap} for {task}: it gave a complete reply to {_success_text(proven[cheap])} "
            f"requests and would have cost {format_usd(would_usd)} for the same tokens, "
            f"where {others} cost {format_usd(cost_usd)}. The ledger does not know how good the "
            f"replies were."
        ),
        saves_usd=cost_usd - would_usd,
    )


def _success_text(summary: Summary) -> str:
    return f"{format_percent(_success_rate(summary))} of {summary.requests}"


def _successes(summary: Summary) -> int:
    faults = sum(count for code, count in summary.errors.items() if code not in CALLER_ERRORS)
    return summary.requests - faults


def _success_rate(summary: Summary) -> float:
    return _successes(summary) / summary.requests


def _lower_bound(successes: int, tries: int) -> float:
    """Return the lower end of Wilson's 95 % interval for a share."""
    z = 1.96
    share = successes / tries
    middle = share + z * z / (2 * tries)
    spread = z * math.sqrt(share * (1 - share) / tries + z * z / (4 * tries * tries))
    return (middle - spread) / (1 + z * z / tries)


def _find_broken_caches(
    by_model: Mapping[str, Mapping[str, Summary]], price_of: PriceOf
) -> Iterator[Recommendation]:
    for model, sessions in by_model.items():
        excess = {
            session: excess_usd
            for session, summary in sessions.items()
            if session and (excess_usd := _cache_excess_usd(model, summary, price_of)) > 0
        }
        total_usd = sum(excess.values(), Decimal(0))
        if total_usd < MIN_USD:
            continue
        worst = max(excess, key=lambda session: excess[session])
        usage = sum((sessions[session].usage for session in excess), Usage())
        yield Recommendation(
            text=(
                f"The prompt cache hardly works in {_pluralize(len(excess), 'session')} at "
                f"{model}: {format_percent(usage.cache_read_tokens / usage.prompt_tokens)} of "
                f"their input came from it. Keep the beginning of the prompt the same "
                f"from turn to turn (tools, system text, old turns) and at one provider, and the "
                f"pauses shorter than the cache's lifetime; the rest is then read at the cached "
                f"price. The most expensive is session {worst} ({format_usd(excess[worst])})."
            ),
            saves_usd=total_usd,
        )


def _cache_excess_usd(model: str, summary: Summary, price_of: PriceOf) -> Decimal:
    """Return what a session's input cost beyond the cost with a working prompt cache, in USD.

    It is 0 if the cache works, if the session is too small to tell, or without a lower price for
    cached input.

    If a prompt grows evenly from nothing over n turns, all but 2/n of the input is a prefix that
    was seen before. A prompt that is long from the start would repeat even more.
    """
    price, usage = price_of(model), summary.usage
    turns, prompt = summary.requests, usage.prompt_tokens
    if turns < MIN_TURNS or prompt < MIN_PROMPT_TOKENS * turns:
        return Decimal(0)
    if price is None or price.cache_read is None or price.cache_read >= price.prompt:
        return Decimal(0)
    # A session counts as broken if less than half of what could be read from the cache was read.
    seen_before = prompt - prompt * 2 // turns
    if usage.cache_read_tokens * 2 >= seen_before:
        return Decimal(0)
    new = prompt - seen_before
    # without writes in the record, the provider caches on its own and charges nothing for it
    writes = new if usage.cache_write_tokens else 0
    ideal = Usage(
        input_tokens=new - writes, cache_write_tokens=writes, cache_read_tokens=seen_before
    )
    actual = Usage(
        input_tokens=usage.input_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        cache_write_1h_tokens=usage.cache_write_1h_tokens,
    )
    return linear_cost_usd(price, actual) - linear_cost_usd(price, ideal)


def _find_wasted_attempts(by_session: Groups) -> Iterator[Recommendation]:
    """Find billed attempts without an answer, at models where they cost at least `MIN_SHARE`."""
    wasted_pico: dict[str, dict[str, int]] = {}
    cost_pico: dict[str, int] = {}
    for (model, session, error), summary in by_session.items():
        of_model = wasted_pico.setdefault(model, {})
        # of a request that succeeded, or failed through the caller, only the earlier attempts were
        # wasted
        pico = summary.retry_pico if error in CALLER_ERRORS or not error else summary.cost_pico
        of_model[session] = of_model.get(session, 0) + pico
        cost_pico[model] = cost_pico.get(model, 0) + summary.cost_pico
    for model, sessions in wasted_pico.items():
        total_usd, cost_usd = from_pico(sum(sessions.values())), from_pico(cost_pico[model])
        if total_usd < max(MIN_USD, MIN_SHARE * cost_usd):
            continue
        worst = max(sessions, key=lambda session: sessions[session])
        where = (
            f" The most expensive is session {worst} ({format_usd(from_pico(sessions[worst]))})."
            if worst
            else ""
        )
        yield Recommendation(
            text=(
                f"Attempts at {model} without an answer cost {format_usd(total_usd)}, "
                f"{format_percent(float(total_usd / cost_usd))} of its total cost. Put "
                f"another model before it, or allow fewer retries.{where}"
            ),
            saves_usd=total_usd,
        )


def _pluralize(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
