"""What a user has set about choosing: names, preferences, fallbacks, weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, TypeVar

import orjson
from devflow_core.routing import SelectionCriteria

_T = TypeVar("_T")

MODES: Mapping[str, SelectionCriteria | None] = {
    "auto": None,
    "auto:cheap": SelectionCriteria(cost_priority=1.0, performance_priority=0.0),
    "auto:fast": SelectionCriteria(cost_priority=0.3, performance_priority=1.0),
    "auto:best": SelectionCriteria(cost_priority=0.0, performance_priority=0.0),
}
"""Names that leave the choice to the router, with the weights they stand for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingPolicy:
    """Settings of the router, as plain values."""

    aliases: Mapping[str, str] = field(default_factory=dict[str, str])
    """A name or pattern → a model, a mode, a pattern of models, or several with commas, which are
    then asked in that order (a combo)."""
    preferred_models: tuple[str, ...] = ()
    """Tried first, in this order, where they are able."""
    fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """A model or pattern → who is asked after it."""
    fallback_models: tuple[str, ...] = ()
    """Who is asked at the end of every chain."""
    nodes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    """A named task → `model`, `cost_priority`, `performance_priority`."""
    criteria: SelectionCriteria = field(default_factory=SelectionCriteria)
    """The weights of requests that bring none."""
    chain_length: int = 4
    """How many models the router itself puts into a chain; configured ones come on top."""
    allow_free: bool = False
    learn_quality: bool = False
    """Whether the user's feedback changes the expected quality."""
    allow_unknown_price: bool = True
    """Whether a model named by the caller may be asked when its price is not known."""

    @property
    def version(self) -> str:
        """A fingerprint of all of it."""
        return hashlib.sha256(orjson.dumps(self, option=orjson.OPT_SORT_KEYS)).hexdigest()[:12]

    def resolve(self, name: str) -> str:
        """What a name stands for: aliases followed until one stands for itself, five at most."""
        for _ in range(5):
            target = self.aliases.get(name) or first_match(self.aliases, name)
            if target is None or target == name:
                break
            name = target
        return name

    def fallbacks_of(self, model: str) -> tuple[str, ...]:
        """Who is asked after this model: its own fallbacks, then the global ones."""
        own = self.fallbacks.get(model) or first_match(self.fallbacks, model) or ()
        return tuple(dict.fromkeys((*own, *self.fallback_models)))


def first_match(patterns: Mapping[str, _T], name: str) -> _T | None:
    """The value of the first pattern with `*` or `?` that the name fits."""
    for pattern, value in patterns.items():
        if is_pattern(pattern) and fnmatchcase(name, pattern):
            return value
    return None


def is_pattern(name: str) -> bool:
    """Whether a name stands for several."""
    return "*" in name or "?" in name
