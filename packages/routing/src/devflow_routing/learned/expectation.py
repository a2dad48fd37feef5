"""Defines what a learned table expects of the models for one prompt, as plain numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedExpectation:
    """The expected score and cost of every model that a learned table knows, for one prompt.

    It holds no text, so that it can be recorded with the decision and replayed without the table.
    """

    version: str
    """The version of the table."""
    models: tuple[str, ...]
    quality: tuple[float, ...]
    """The expected score of each model, 0..1."""
    costs: tuple[float, ...]
    """The expected cost of each model, in shares of what the best single model costs on average."""
    best: str
    """The best single model of the examples: no choice by this expectation is dearer."""
    price: float
    """The quality that one average cost of the best single model is worth, 0 or more."""
    is_known: bool
    """Whether the prompt is like something that the table was learned from."""
    domain: str = ""
    """The nearest domain of the examples; empty if the prompt is like none of them."""

    def describe(self) -> str:
        """Return, in words, where the expectation comes from."""
        if self.is_known:
            return f"learned from your answers, {self.domain}"
        return "learned from your answers of this kind"

    def as_json(self) -> dict[str, Any]:
        """Return plain values for the record of a decision; `expectation_from_json` reads them."""
        return {
            "version": self.version,
            "models": list(self.models),
            "quality": list(self.quality),
            "costs": list(self.costs),
            "best": self.best,
            "price": self.price,
            "is_known": self.is_known,
            "domain": self.domain,
        }


def expectation_from_json(record: Mapping[str, Any]) -> LearnedExpectation:
    """Return the expectation of a record.

    Raises:
        KeyError, TypeError: this is not a record of an expectation.
    """
    values = {name: record[name] for name in ("version", "best", "price", "is_known", "domain")}
    return LearnedExpectation(
        models=tuple(record["models"]),
        quality=tuple(record["quality"]),
        costs=tuple(record["costs"]),
        **values,
    )
