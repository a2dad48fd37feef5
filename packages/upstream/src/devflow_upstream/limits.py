"""What a provider's limit of rate is a limit of: a key rests for that, and for nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from devflow_core.errors import RateLimited, UpstreamError

WHOLE_KEY = ""
"""The scope of what keeps a key from every model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRules:
    """Whose the limits of a provider are, by error type; any other is of the model that met it."""

    shared: frozenset[str] = frozenset()
    """Every key meets them, so they say nothing of one key."""
    of_key: frozenset[str] = frozenset()
    """Of the key, or of whom it belongs to: it rests for every model."""
    of_models: Mapping[str, Callable[[str], bool]] = field(
        default_factory=dict[str, Callable[[str], bool]]
    )
    """Of several models together, with the test for a model that is one of them."""

    def scope_of(self, error: UpstreamError, model: str) -> str:
        """For what a key rests after this error: itself, a kind of models, or this model."""
        kind = error.error_type or ""
        if not isinstance(error, RateLimited) or kind in self.of_key:
            return WHOLE_KEY
        holds_for = self.of_models.get(kind)
        return kind if holds_for is not None and holds_for(model) else model

    def scopes_of(self, model: str) -> Iterator[str]:
        """Everything for which a key may rest that keeps it from this model."""
        yield WHOLE_KEY
        yield model
        for kind, holds_for in self.of_models.items():
            if holds_for(model):
                yield kind
