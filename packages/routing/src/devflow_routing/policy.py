"""Holds the user's settings for the choice: names, preferences, fallbacks, weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, TypeVar

import orjson
from devflow_core.verification import VERIFIED_MODE

_T = TypeVar("_T")

MODES = ("auto", "auto:cheap", "auto:fast", "auto:best", VERIFIED_MODE)
"""Names that leave the choice to the router; what each looks for: `strategies/ordering.py`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What cost and time are worth against quality, each from 0 to 1."""

    cost_priority: float = 0.5
    performance_priority: float = 0.2

    def with_given(self, given: Mapping[str, Any]) -> Weights:
        """Return the weights with those that are given and not None."""
        cost, performance = given.get("cost_priority"), given.get("performance_priority")
        if cost is None and performance is None:
            return self
        return Weights(
            cost_priority=self.cost_priority if cost is None else cost,
            performance_priority=self.performance_priority if performance is None else performance,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingPolicy:
    """The settings of the router, as plain values."""

    aliases: Mapping[str, str] = field(default_factory=dict[str, str])
    """Names or patterns, each with what it stands for.

    That is a model, a mode, a pattern of models, or several models separated by commas, which are
    then asked in that order (a combo).
    """
    preferred_models: tuple[str, ...] = ()
    """Models that come first, in this order, where they are eligible."""
    fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """The models that are asked after a model, by its id or pattern."""
    fallback_models: tuple[str, ...] = ()
    """The models that are asked at the end of every chain of a named model."""
    nodes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    """Named tasks, each with `model`, `cost_priority`, `performance_priority`, `quality_floor`."""
    weights: Weights = field(default_factory=Weights)
    """The weights of requests that bring none."""
    quality_floor: float = 0.9
    """The floor of requests that bring none, as a share of the session's first model's quality."""
    chain_length: int = 4
    """The most models in a chain that the router chooses.

    `fallbacks` and `fallback_models` follow named models alone, however many they are.
    """
    allow_free: bool = False
    """Whether the router itself may choose `:free` variants."""
    learn_quality: bool = False
    """Whether the user's feedback changes the expected quality."""
    allow_unknown_price: bool = True
    """Whether a model named by the caller may be asked if its price is unknown."""

    @property
    def version(self) -> str:
        """A fingerprint of all these settings."""
        return hashlib.sha256(orjson.dumps(self, option=orjson.OPT_SORT_KEYS)).hexdigest()[:12]

    def resolve(self, name: str) -> str:
        """Return what a name stands for, following at most five aliases."""
        for _ in range(5):
            target = self.aliases.get(name) or first_match(self.aliases, name)
            if target is None or target == name:
                break
            name = target
        return name

    def fallbacks_of(self, model: str) -> tuple[str, ...]:
        """Return the models to ask after this model: its own fallbacks, then the global ones."""
        own = self.fallbacks.get(model) or first_match(self.fallbacks, model) or ()
        return tuple(dict.fromkeys((*own, *self.fallback_models)))


def first_match(patterns: Mapping[str, _T], name: str) -> _T | None:
    """Return the value of the first pattern with `*` or `?` that the name matches, or None."""
    for pattern, value in patterns.items():
        if is_pattern(pattern) and fnmatchcase(name, pattern):
            return value
    return None


def is_pattern(name: str) -> bool:
    """Return whether a name is a pattern, which may stand for several models."""
    return "*" in name or "?" in name
