"""Encodes a decision as JSON: what was considered, why, and enough to replay it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from devflow_core.routing import Alternatives, Candidate, Option, Route, Task

__all__ = ["encode_route", "route_as_json", "task_from_json"]


def route_as_json(route: Route) -> dict[str, Any]:
    """Return the route as a JSON object, without any text of the prompt.

    It holds the requested name, the task, the inputs (`features`), the versions (`snapshot`) and
    `candidates`: first the chain, the chosen model at its head, then the excluded models with their
    reasons. Money is decimal text.
    """
    candidates = [
        _candidate_as_json(one, is_chosen=index == 0) for index, one in enumerate(route.candidates)
    ]
    candidates += [
        {
            "model": one.model,
            "chosen": False,
            "score": None,
            "terms": None,
            "excluded": one.reason,
        }
        for one in route.excluded
    ]
    return {**_common_fields(route), "candidates": candidates}


def encode_route(route: Route) -> str:
    """Return the route as JSON text for the ledger: the chain and all inputs, without exclusions.

    The exclusions follow from the inputs: `Router.replay` finds them again.
    """
    candidates = [
        _candidate_as_json(one, is_chosen=index == 0) for index, one in enumerate(route.candidates)
    ]
    record = {
        **_common_fields(route),
        "candidates": candidates,
        "left_out": len(route.excluded),
        "prices": _prices_of(route.chosen),
    }
    return orjson.dumps(record).decode()


def task_from_json(record: Mapping[str, Any]) -> Task:
    """Return the task of a record.

    Raises:
        KeyError, TypeError: this is not a record of a decision.
    """
    task = record["task"]
    return Task(
        type=task["type"],
        complexity=task["complexity"],
        confidence=task["confidence"],
        difficulty=task.get("difficulty", 0.5),
        reasons=tuple(task["reasons"]),
        domains=tuple((name, share) for name, share in task["domains"]),
    )


def _common_fields(route: Route) -> dict[str, Any]:
    task = route.task
    return {
        "requested": route.requested,
        "task": {
            "type": task.type,
            "complexity": task.complexity,
            "confidence": task.confidence,
            "difficulty": task.difficulty,
            "reasons": task.reasons,
            "domains": task.domains,
        },
        "features": dict(route.features),
        "snapshot": dict(route.snapshot),
        **_alternatives_as_json(route.find_alternatives and route.find_alternatives()),
        **_verification_as_json(route),
    }


def _verification_as_json(route: Route) -> dict[str, Any]:
    """Return how answers are checked, and what became of those that were given."""
    if not route.is_verified:
        return {}
    found = route.verification
    if found is None:
        return {"is_verified": True}
    return {
        "is_verified": True,
        "verification": {
            "outcome": found.outcome,
            "stopped_by": found.stopped_by or None,
            "steps": [
                {
                    "attempt": one.number,
                    "model": one.model,
                    "outcome": one.outcome,
                    "check": one.check or None,
                    "reason": one.reason,
                    "cost_usd": format(one.cost_usd, "f"),
                    "check_usd": format(one.check_usd, "f"),
                }
                for one in found.steps
            ],
        },
    }


def _alternatives_as_json(found: Alternatives | None) -> dict[str, Any]:
    if found is None:
        return {}
    frontier = [list(_option_as_json(one).values()) for one in found.frontier]
    return {
        "alternatives": {
            "next_better": found.next_better and _option_as_json(found.next_better),
            "next_cheaper": found.next_cheaper and _option_as_json(found.next_cheaper),
            "frontier": frontier,
            "left_out": dict(found.left_out),
            **({"turns": [list(one) for one in found.turns]} if found.turns else {}),
        }
    }


def _option_as_json(option: Option) -> dict[str, Any]:
    return {
        "model": option.model,
        "quality": option.quality,
        "cost_usd": option.cost_usd,
        "latency_s": option.latency_s,
    }


def _prices_of(candidate: Candidate) -> dict[str, str | None] | None:
    """Return the five prices that the chosen model's cost was reckoned with, in USD per token."""
    if candidate.price is None:
        return None
    tier = candidate.price.resolve_tier(candidate.input_tokens or 0)
    return {
        name: None if (value := getattr(tier, name)) is None else format(value, "f")
        for name in ("prompt", "completion", "cache_read", "cache_write", "request")
    }


def _substitutes_as_json(candidate: Candidate) -> dict[str, Any]:
    """Return the fields of a candidate in which something was replaced; empty for all others."""
    found: dict[str, Any] = {}
    if candidate.stands_in_for:
        found["stands_in_for"] = candidate.stands_in_for
    if candidate.unreadable_media:
        found["unreadable_media"] = list(candidate.unreadable_media)
    return found


def _candidate_as_json(candidate: Candidate, *, is_chosen: bool) -> dict[str, Any]:
    terms = candidate.terms
    return {
        "model": candidate.model,
        "chosen": is_chosen,
        "score": candidate.score,
        "terms": terms
        and {
            "quality": terms.quality,
            "cost_usd": None if terms.cost_usd is None else f"{terms.cost_usd:.9f}",
            "latency_s": terms.latency_s,
            "switch_cost_usd": f"{terms.switch_cost_usd:.9f}",
        },
        "excluded": None,
        "reason": candidate.reason,
        **_substitutes_as_json(candidate),
        "worst_case_usd": None
        if candidate.worst_case_usd is None
        else format(candidate.worst_case_usd, "f"),
    }
