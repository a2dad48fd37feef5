"""Defines tasks, candidates and routes: a request's subject and the models that may answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from typing import Any, Literal

from devflow_core.usage import Price

TaskType = Literal[
    "coding",
    "math",
    "reasoning",
    "creative",
    "knowledge",
    "text_ops",
    "planning",
    "analysis",
    "background",
]
"""The kinds of tasks; `background`: what a harness asks for itself (titles, summaries, probes)."""
Complexity = Literal["low", "medium", "high"]
CheckOutcome = Literal["accepted", "refused", "undecided", "unjudged", "asked"]
"""What became of an answer's checks.

`undecided`: a check could not decide. `unjudged`: no check applies to it. `asked`: the call is not
an answer, but was made by a check.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionCriteria:
    """The caller's preferences; what is None is left to the request, its node and the settings."""

    task_type: TaskType | None = None
    complexity: Complexity | None = None
    cost_priority: float | None = None
    """How much a lower cost counts against quality, 0 (not at all) to 1; None: the settings'."""
    performance_priority: float | None = None
    """How much a shorter wait counts against quality, 0 (not at all) to 1; None: the settings'."""
    context_tokens: int | None = None
    """The input tokens to plan for, if the caller knows better than our estimate."""
    quality_floor: float | None = None
    """The share of `floor_model`'s expected quality below which no model is chosen, 0 to 1.

    None: the settings'. It binds only where the choice is left to the router.
    """
    floor_model: str | None = None
    """The model that the floor is measured by, such as the one that a session ran on.

    None: the one that this session began with; with a floor of the caller's and no session, the
    best model that is able.
    """
    allow_free: bool | None = None
    """Whether `:free` variants may be chosen; None: the settings'."""

    def over(self, other: SelectionCriteria | None) -> SelectionCriteria:
        """Return these criteria, with those of another in the place of what is None here."""
        if other is None:
            return self
        missing = {one.name for one in fields(self) if getattr(self, one.name) is None}
        return replace(self, **{name: getattr(other, name) for name in missing})


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The subject of a request: its type, its difficulty, and the evidence for them."""

    type: TaskType
    complexity: Complexity
    """The band of `difficulty`, unless the caller has set it."""
    confidence: float
    """The confidence in `type`, 0..1."""
    difficulty: float = 0.5
    """The chance that a small model fails, 0..1."""
    reasons: tuple[str, ...] = ()
    """The words and rules that decided, as text for people."""
    domains: tuple[tuple[str, float], ...] = ()
    """The likeliest types or finer domains with their probabilities, most likely first, or none."""
    text: str = field(default="", repr=False)
    """The user's request as the classifier read it; kept in memory only, never recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreTerms:
    """The terms that a candidate's score is made of."""

    quality: float
    """The expected quality, 0..1."""
    cost_usd: float | None
    """The expected cost of this request, with the prompt cache considered; None if unknown."""
    latency_s: float | None
    """The expected time to the end of the reply; None before anything was measured."""
    switch_cost_usd: float = 0.0
    """The saving that a warm prompt cache at the session's current model would have brought."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternate:
    """A model that the provider may let answer in a candidate's place."""

    model: str
    """The name under which it is requested."""
    slug: str = ""
    """The model's other name, which a reply may use for it."""
    price: Price | None = None
    worst_case_usd: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One model that can take the request."""

    model: str
    """The id to ask for, including the suffix (`anthropic/claude-haiku-4.5`, `x/y:free`)."""
    reason: str
    """Why the model is at this place of the route, in words."""
    stands_in_for: str = ""
    """The unknown name in whose place this model is asked, as the newest of its family."""
    score: float = 0.0
    terms: ScoreTerms | None = None
    price: Price | None = None
    max_input_tokens: int | None = None
    """The context window; None if the catalogue does not list it."""
    input_tokens: int | None = None
    """An upper estimate of the tokens of the request; None if they were not estimated."""
    max_output_tokens: int | None = None
    worst_case_usd: Decimal | None = None
    """The amount reserved before the call: the most expensive outcome that may be billed.

    None if it is unknown.
    """
    own_worst_case_usd: Decimal | None = None
    """The same if this model itself answers; None if it equals `worst_case_usd`."""
    unpriced_reason: str = ""
    """Why the worst case is unknown, and what to change."""
    slug: str = ""
    """The model's other name, which a reply may use for it."""
    alternates: tuple[Alternate, ...] = ()
    """The models that may answer in its place because the body allows them."""
    may_be_any: bool = False
    """Whether the provider may let any model answer."""
    has_fees: bool = False
    """Whether more than the tokens of one turn may be billed."""
    first_fees_usd: Decimal = Decimal(0)
    """The most that steps before the model may cost; they are billed even if the model fails."""
    unreadable_media: tuple[str, ...] = ()
    """The kinds of media in the request that it cannot take; a note replaces each."""
    provider: Mapping[str, Any] | None = None
    """The `provider` preferences to send with the request, for the providers behind a router."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """A model that was left out, with the reason."""

    model: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A model that could have been chosen, with what was expected of it."""

    model: str
    quality: float
    """The lower bound of the expected quality, 0..1."""
    cost_usd: float
    """The expected cost, with what is lost by leaving a warm prompt cache."""
    latency_s: float
    """The expected time to the end of the reply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternatives:
    """The models around the chosen one, kept so that a choice can be understood years later."""

    next_better: Option | None = None
    """The cheapest model that is expected to answer better; None: there is none."""
    next_cheaper: Option | None = None
    """The best of the models that cost less; None: there is none."""
    frontier: tuple[Option, ...] = ()
    """Models that none beats in quality at their cost, cheapest first; at most twelve."""
    left_out: Mapping[str, int] = field(default_factory=dict[str, int])
    """The number of models that were not eligible, by reason."""
    turns: tuple[tuple[float, str], ...] = ()
    """From which cost priority on which model comes first; only where a decision is explained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckStep:
    """One answer and what its checks said, without any text of the answer."""

    number: int
    """The number of the attempt that answered."""
    model: str
    outcome: CheckOutcome
    check: str = ""
    """The check that decided; empty if none applies."""
    reason: str = ""
    cost_usd: Decimal = Decimal(0)
    """The cost of the answer in USD."""
    check_usd: Decimal = Decimal(0)
    """The cost of the calls that its checks made, in USD."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationRecord:
    """How the answers to one request were checked; the last step is the answer that was given."""

    steps: tuple[CheckStep, ...]
    stopped_by: str = ""
    """The code of the error that kept a better model from answering; usually empty."""

    @property
    def outcome(self) -> CheckOutcome:
        """The outcome of the answer that was given."""
        return self.steps[-1].outcome

    @property
    def summary(self) -> str:
        """The outcome in a few words, such as `accepted by schema, answer 2`."""
        last = self.steps[-1]
        told = {"accepted": "accepted by", "refused": "refused by", "undecided": "not decided by"}
        words = f"{told[last.outcome]} {last.check}" if last.outcome in told else last.outcome
        stopped = f", stopped by {self.stopped_by}" if self.stopped_by else ""
        return f"{words}, answer {len(self.steps)}{stopped}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The candidates in the order in which they are asked; never empty."""

    candidates: tuple[Candidate, ...]
    task: Task
    requested: str = "auto"
    """The name that the caller asked for."""
    excluded: Sequence[Exclusion] = ()
    criteria: SelectionCriteria = field(default_factory=SelectionCriteria)
    features: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The inputs of the decision, without any text of the prompt; enough to replay it."""
    snapshot: Mapping[str, str] = field(default_factory=dict[str, str])
    """Versions of what the choice rests on: catalogue, scores, settings, performance and tables."""
    is_verified: bool = False
    """Whether each answer is checked, and the next candidate answers if it is refused."""
    verification: VerificationRecord | None = None
    """How the answers were checked; None before the reply, and if they are not checked."""
    find_alternatives: Callable[[], Alternatives] | None = field(
        default=None, repr=False, compare=False
    )
    """Finds `alternatives` when they are read, so that no request waits for them."""

    @property
    def alternatives(self) -> Alternatives | None:
        """The models around the chosen one, found anew each time; None if one was named."""
        return None if self.find_alternatives is None else self.find_alternatives()

    @property
    def chosen(self) -> Candidate:
        """The candidate that is asked first."""
        return self.candidates[0]

    @property
    def substitutions(self) -> tuple[tuple[str, str], ...]:
        """Unknown names, each with the model that is asked in its place; usually none."""
        return tuple((one.stands_in_for, one.model) for one in self.candidates if one.stands_in_for)
