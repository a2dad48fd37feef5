"""Defines which models each rate limit of a provider concerns, so that no key rests needlessly."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from devflow_core.errors import RateLimited, UpstreamError

WHOLE_KEY = ""
"""The scope of a rest that keeps a key from every model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRules:
    """The scope of each of a provider's rate limits, by error type; by default, one model."""

    shared: frozenset[str] = frozenset()
    """Limits that all keys share, so that they say nothing about a single key."""
    of_key: frozenset[str] = frozenset()
    """Limits of the key or its owner, which make the key rest for every model."""
    of_models: Mapping[str, Callable[[str], bool]] = field(
        default_factory=dict[str, Callable[[str], bool]]
    )
    """Limits of several models together, each with a test for the models it applies to."""

    def scope_of(self, error: UpstreamError, model: str) -> str:
        """Return the scope of the rest after this error: `WHOLE_KEY`, a kind of models, or a model.

        An error that is not a rate limit concerns the whole key.
        """
        kind = error.error_type or ""
        if not isinstance(error, RateLimited) or kind in self.of_key:
            return WHOLE_KEY
        holds_for = self.of_models.get(kind)
        return kind if holds_for is not None and holds_for(model) else model

    def scopes_of(self, model: str) -> Iterator[str]:
        """Yield every scope in which a rest keeps a key from this model."""
        yield WHOLE_KEY
        yield model
        for kind, holds_for in self.of_models.items():
            if holds_for(model):
                yield kind
