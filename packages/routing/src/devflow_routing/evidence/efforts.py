"""Reads at which effort of reasoning a score was measured, and corrects scores for it."""

from __future__ import annotations

import re
from functools import lru_cache

from devflow_routing.capabilities import Capability
from devflow_routing.model_config import ModelConfig

MAX_CACHED_SETTINGS = 1_024
"""The most settings whose effort is remembered."""
_LEVELS: tuple[tuple[re.Pattern[str], str, float], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), name, offset)
    for pattern, name, offset in (
        (r"non?[- ]?(reasoning|think)|\bnone\b|nothink", "without reasoning", -0.5),
        (r"minimal", "minimal effort", -0.4),
        (r"x-?high|\bmax\b|max effort|[_ ](59|6\d)k\b", "highest effort", 0.4),
        (r"(\b|_)high\b|[_ (](2\d|3\d)k\b", "high effort", 0.15),
        (r"(\b|_)low\b", "low effort", -0.28),
        (r"(\b|_)medium$|(\b|_)medium\)|_16k\b", "medium effort", 0.0),
        (r"reasoning|think|enabled|adaptive", "with reasoning", 0.0),
    )
)
"""Words of settings, the surest first, with the ability they add to that of medium effort.

The offsets are medians over models that were measured at several efforts (1,900 pairs in 40
benchmarks, of which agentic ones gain the most from effort). `medium` needs the end of the
setting, since `mistral-medium-2505` is a name.
"""
_OFFSET_OF_ABLE = -0.25
"""The usual offset of a model that reasons only if it is asked to, which half of callers do."""


def effort_name(setting: str) -> str:
    """Return a setting's effort for people; empty if it tells none."""
    return _read_effort(setting)[0]


@lru_cache(maxsize=MAX_CACHED_SETTINGS)
def _read_effort(setting: str) -> tuple[str, float | None]:
    """Return a setting's effort, and what it adds to ability; `("", None)` if it tells none."""
    found = ((name, offset) for pattern, name, offset in _LEVELS if pattern.search(setting))
    return next(found, ("", None))


def usual_offset(model: ModelConfig) -> float | None:
    """Return what the effort that a model is usually asked at adds to its ability.

    Returns:
        Standard deviations among models, 0 at medium effort; None if the model cannot reason.
    """
    if model.reasons_by_default:
        return 0.0
    return _OFFSET_OF_ABLE if model.capabilities & Capability.REASONING else None


def excess_of_effort(setting: str, model: ModelConfig) -> float:
    """Return by how much a score shows a model better than its usual effort does.

    Args:
        setting: the setting that the score was measured with.
        model: the model that was measured.

    Returns:
        Standard deviations among models; 0 if the setting tells no effort, or the model has none.
    """
    measured, usual = _read_effort(setting)[1], usual_offset(model)
    return 0.0 if measured is None or usual is None else measured - usual
