"""What a request is about, who may answer it, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from devflow_core.usage import Price

TaskType = Literal[
    "coding", "math", "reasoning", "creative", "knowledge", "text_ops", "planning", "analysis"
]
Complexity = Literal["low", "medium", "high"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionCriteria:
    """What the caller cares about; what is None is derived from the request."""

    task_type: TaskType | None = None
    complexity: Complexity | None = None
    cost_priority: float = 0.5
    """0..1: how much a saved dollar counts against expected quality."""
    performance_priority: float = 0.2
    """0..1: how much a saved second counts against expected quality."""
    context_tokens: int | None = None
    """Input tokens to plan for, when the caller knows better than our estimate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a request is about."""

    type: TaskType
    complexity: Complexity
    confidence: float
    """0..1, of `type`."""
    reasons: tuple[str, ...] = ()
    """The words and rules that decided, for a person."""
    domains: tuple[tuple[str, float], ...] = ()
    """Finer domains with their probability, most likely first; empty when none is known."""
    text: str = field(default="", repr=False)
    """The user's request as the classifier read it; in memory only, never recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreTerms:
    """What a candidate's score is made of."""

    quality: float
    """Expected, 0..1."""
    cost_usd: float | None
    """Expected for this request, prompt cache considered; None where the price is unknown."""
    latency_s: float | None
    """Expected time to the end of the reply; None before anything was measured."""
    switch_cost_usd: float = 0.0
    """What a warm prompt cache at the session's present model would have saved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternate:
    """A model that the provider may let answer in a candidate's place."""

    model: str
    """By the name it is asked for with."""
    slug: str = ""
    """Its other name, by which a reply may call it."""
    price: Price | None = None
    worst_case_usd: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One model that can take the request."""

    model: str
    """The id to ask for, suffix included (`anthropic/claude-haiku-4.5`, `x/y:free`)."""
    reason: str
    """Why it stands where it stands, for a person."""
    score: float = 0.0
    terms: ScoreTerms | None = None
    price: Price | None = None
    max_input_tokens: int | None = None
    """The window; None when the catalogue does not tell."""
    input_tokens: int | None = None
    """What the request holds at the most, by our estimate; None where nobody has estimated it."""
    max_output_tokens: int | None = None
    worst_case_usd: Decimal | None = None
    """What is reserved before the call: the dearest of everything that may be billed for it; None
    when that is not known."""
    own_worst_case_usd: Decimal | None = None
    """The same where this model itself answers; None where `worst_case_usd` says it."""
    unpriced_reason: str = ""
    """Why the worst case is not known, and what to change."""
    slug: str = ""
    """The model's other name, by which a reply may call it."""
    alternates: tuple[Alternate, ...] = ()
    """Who may answer in its place, because the body says so."""
    may_be_any: bool = False
    """Whether the provider may let any model answer."""
    has_fees: bool = False
    """More than the tokens of one turn may be billed."""
    first_fees_usd: Decimal = Decimal(0)
    """At the most, for what runs before the model is asked, and is billed although that fails."""
    provider: Mapping[str, Any] | None = None
    """Preferences among the providers behind a router (`provider`), to send with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """A model that was left out, and why."""

    model: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Who may answer, in order; never empty."""

    candidates: tuple[Candidate, ...]
    task: Task
    requested: str = "auto"
    """The name the caller asked for."""
    excluded: Sequence[Exclusion] = ()
    criteria: SelectionCriteria = field(default_factory=SelectionCriteria)
    features: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The inputs of the decision, without any text of the prompt; enough to replay it."""
    snapshot: Mapping[str, str] = field(default_factory=dict[str, str])
    """Versions of the catalogue, the prices, the model of quality and the performance data."""

    @property
    def chosen(self) -> Candidate:
        """The first candidate."""
        return self.candidates[0]
