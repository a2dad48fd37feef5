"""What may be billed, as values: models, fees with their bounds, and what has none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedModel:
    """A model that the body names, and where."""

    model: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Searches:
    """Searches and fetches on the web, each with a fee; the model reads what they bring."""

    path: str
    max_count: int
    """At the most; where the provider itself searches it holds for Anthropic's models only."""
    max_results: int
    """Of one search."""
    may_be_native: bool
    """The model's own provider may search, if it can."""
    is_once: bool = False
    """Once before the model answers; otherwise the model asks, and reads in further turns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """Something in the body that may cost or may ask somebody, with no bound that is known."""

    path: str
    why: str
    """What is not known and what to do, in words that go on after the path."""
    concerns: Literal["models", "cost", "both"] = "both"
    """`models`: who may be asked. `cost`: how much it may be."""

    @property
    def text(self) -> str:
        """The path and the reason."""
        return f"{self.path}: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Billable:
    """What a request may be billed for beside one turn of the model it asks for."""

    alternates: tuple[NamedModel, ...] = ()
    """Models that the provider may let answer instead."""
    inside: tuple[NamedModel, ...] = ()
    """Models that the answering one may ask; how often nobody knows, so a doubt goes with each."""
    searches: tuple[Searches, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    speed: Literal["standard", "priority", "ultrafast", "fast"] = "standard"
    """The dearest service tier, or mode of speed, that may be served."""
    replies: int = 1
    """How many are asked for at once (`n`)."""
    extra_turns: int = 0
    """Turns of the model inside one request beside the first, searches not counted."""
    output_kinds: tuple[str, ...] = ()
    """`image` and `audio`, where the reply may hold them."""
    pdf_engine: Literal["", "free", "ocr"] = ""
    """What reads files that the model cannot; empty where nothing is said."""
    max_output_tokens: int | None = None
    """The larger of the limits that the body sets, under all of their names."""

    @property
    def is_plain(self) -> bool:
        """Nothing but the tokens of the model that is asked for."""
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
        """The provider may let a model answer that nobody has named."""
        return any(one.model.startswith("@preset/") for one in self.alternates) or any(
            one.concerns == "models" for one in self.doubts
        )

    def first_doubt(self, concerns: Literal["models", "cost"]) -> Doubt | None:
        """The first thing of this kind that is not known."""
        return next((one for one in self.doubts if one.concerns in (concerns, "both")), None)


NOTHING_BESIDES = Billable()
