"""Says how old the list of models and their scores are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from devflow_routing import LiveCatalogue

    from devflow_cli.run import Run

_HOUR_S, _DAY_S = 3_600, 86_400
_OLD_LIST_S = 7 * _DAY_S
"""The age from which a list is called old: by then a twentieth of the prices have changed."""


def describe_ages(live: LiveCatalogue) -> tuple[str, str]:
    """Return two texts for people: the number and age of the models, and of their scores.

    They say what to do about an old list, and why scores could not be renewed.
    """
    old = live.age_s > _OLD_LIST_S
    advice = "; `devflow models refresh` fetches the newest" if old else ""
    found = f"{len(live.current)}, {_format_age(live.age_s)}{advice}"
    evidence = live.evidence
    known = evidence.current
    if evidence.age_s is None:
        since = "" if known.as_of is None else f" (collected {known.as_of:%d %b %Y})"
        scores = f"{len(known.scores)}, those that ship with DevFlow{since}"
    else:
        invented = ", invented by the stand-in" if known.is_invented else ""
        scores = f"{len(known.scores)}, {_format_age(evidence.age_s)}{invented}"
    if evidence.last_error is not None:
        scores += f". Not renewed: {evidence.last_error.message.removesuffix('.')}"
    return found, scores


def say_ages(run: Run, live: LiveCatalogue) -> None:
    """Print a line on the age of the list, and one on that of the scores."""
    listed, scores = describe_ages(live)
    run.say(f"List of models: {listed}.")
    run.say(f"Scores of models: {scores}.")


def ages_as_json(live: LiveCatalogue) -> dict[str, Any]:
    """Return when the list and the scores were fetched, and what the scores are."""
    evidence = live.evidence
    error = evidence.last_error
    return {
        "fetched_at": live.current.fetched_at,
        "scores": {
            "version": evidence.current.version,
            "count": len(evidence.current.scores),
            "fetched_at": evidence.current.as_of if evidence.current.is_fetched else None,
            "is_invented": evidence.current.is_invented,
            "error": None if error is None else error.message,
        },
    }


def _format_age(seconds: float) -> str:
    if seconds < _HOUR_S:
        return "fetched within the last hour"
    if seconds < 2 * _DAY_S:
        return f"{seconds / _HOUR_S:.0f} hours old"
    return f"{seconds / _DAY_S:.0f} days old"
