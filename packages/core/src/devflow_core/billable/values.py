"""Defines what may be billed: models, fees with their bounds, and doubts without a bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedModel:
    """A model named in the request body, and the path to it (`models.0`)."""

    model: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Searches:
    """Searches and fetches on the web: each costs a fee, and its results are billed as input."""

    path: str
    max_count: int
    """The upper bound on the number of searches; 0 if there is none, which is also a doubt.

    If the provider itself searches, only Anthropic's models respect it.
    """
    max_results: int
    """The upper bound on the results of one search."""
    may_be_native: bool
    """Whether the model's own provider may run the search."""
    is_once: bool = False
    """Whether the search runs once, before the model answers; otherwise the model calls a tool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """Something in the body that may cost or ask other models, without a known bound."""

    path: str
    why: str
    """What is unknown and what to do, worded to continue a sentence that begins with the path."""
    concerns: Literal["models", "cost", "both"] = "both"
    """What is unknown: which models may be asked (`models`), the amount (`cost`), or both."""

    @property
    def text(self) -> str:
        """The path and the reason, for a message."""
        return f"{self.path}: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Billable:
    """Everything that a request may be billed for besides one turn of the model it asks for."""

    alternates: tuple[NamedModel, ...] = ()
    """Models that the provider may let answer instead."""
    inside: tuple[NamedModel, ...] = ()
    """Models that the answering one may ask; how often is unknown, so each comes with a doubt."""
    searches: tuple[Searches, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    speed: Literal["standard", "priority", "ultrafast", "fast"] = "standard"
    """The most expensive service tier, or mode of speed, that may be served."""
    replies: int = 1
    """The number of replies that are asked for at once (`n`)."""
    extra_turns: int = 0
    """Turns of the model inside one request after the first; those of searches are not counted."""
    output_kinds: tuple[str, ...] = ()
    """`image` and `audio`, if the reply may contain them."""
    pdf_engine: Literal["", "free", "ocr"] = ""
    """Whether the named engine that reads PDFs is free or charges; empty if none is named.

    The engine `native` counts as none: it leaves the file to the model.
    """
    max_output_tokens: int | None = None
    """The largest of the limits that the body sets, under all of their names; None if none."""

    @property
    def is_plain(self) -> bool:
        """Whether nothing is billed but the tokens of the requested model."""
        return not (
            self.alternates
            or self.doubts
            or self.inside
            or self.searches
            or self.extra_turns
            or self.output_kinds
            or self.pdf_engine
            or self.replies > 1
            or self.speed != "standard"
        )

    @property
    def may_be_any(self) -> bool:
        """Whether a model that the body does not name may answer or be asked.

        A preset and a doubt about the models alone say so; a doubt about both does not.
        """
        return any(one.model.startswith("@preset/") for one in self.alternates) or any(
            one.concerns == "models" for one in self.doubts
        )

    def first_doubt(self, concerns: Literal["models", "cost"]) -> Doubt | None:
        """Return the first doubt that concerns the models, or the cost; None if there is none."""
        return next((one for one in self.doubts if one.concerns in (concerns, "both")), None)


NOTHING_BESIDES = Billable()
"""The billable items of an ordinary request, besides its tokens: none."""
