"""Defines the inputs of a decision besides the snapshots, without any text of the prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from devflow_core.billable import Billable
from devflow_core.billable.values import NOTHING_BESIDES
from devflow_core.routing import SelectionCriteria, Task
from devflow_core.tokens import TextSize
from pydantic import TypeAdapter

from devflow_routing.capabilities import Capability, Needs
from devflow_routing.constraints import NO_CONSTRAINTS, Constraints, constraints_from_json
from devflow_routing.learned.expectation import LearnedExpectation, expectation_from_json
from devflow_routing.policy import Weights
from devflow_routing.trackers.performance import NOTHING_MEASURED, PerformanceView

_BILLABLE_ADAPTER = TypeAdapter(Billable)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionState:
    """The state of the request's session."""

    model: str
    """The model that answered this agent of the session last."""
    warm_tokens: int
    """The tokens of its prompt that are in the model's cache now."""
    is_in_tool_loop: bool
    """Whether the request returns a tool's result to the model that asked for it."""
    is_main_thread: bool = False
    """Whether this is the main thread of a Claude Code session, which stays at its model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionInputs:
    """The inputs of one decision; the same inputs and snapshots give the same route."""

    requested: str
    """The name that the node sets, or else the requested one; aliases are not resolved yet."""
    needs: Needs
    task: Task
    weights: Weights
    decided_at: datetime
    """The time of the decision, in UTC."""
    max_cost_usd: Decimal | None = None
    """The ceiling of the worst case, in USD; None: there is none."""
    allowed_models: tuple[str, ...] | None = None
    """Patterns of the models that may answer; None: all."""
    billable: Billable = NOTHING_BESIDES
    """Everything that the request may be billed for besides the tokens of one turn."""
    session: SessionState | None = None
    allow_free: bool = False
    """Whether `:free` variants may be chosen."""
    floor_model: str | None = None
    """The model that the floor of quality is measured by; None: the best, if there is a floor."""
    quality_floor: float | None = None
    """The floor, as a share of `floor_model`'s expected quality; None: there is none."""
    constraints: Constraints = NO_CONSTRAINTS
    """What the request asks of providers, and the models that it lists."""
    is_verified: bool = False
    """Whether each answer is checked, so that the next better model follows one that is refused."""
    performance: PerformanceView = NOTHING_MEASURED
    """The performance of every model with an observation."""
    learned: LearnedExpectation | None = None
    """What was learned from the user's own answers; None where that says nothing."""

    def as_criteria(self) -> SelectionCriteria:
        """Return the criteria that applied, the settings' included."""
        return SelectionCriteria(
            cost_priority=self.weights.cost_priority,
            performance_priority=self.weights.performance_priority,
            quality_floor=self.quality_floor,
            floor_model=self.floor_model,
            allow_free=self.allow_free,
        )

    def as_json(self) -> dict[str, Any]:
        """Return plain values for the record of the decision; `inputs_from_json` reads them."""
        needs, session = self.needs, self.session
        return {
            "requested": self.requested,
            "needs": {
                "capabilities": int(needs.capabilities),
                "letters": needs.size.letters,
                "signs": needs.size.signs,
                "digits": needs.size.digits,
                "wide_chars": needs.size.wide_chars,
                "schema_chars": needs.size.schema_chars,
                "extra_tokens": needs.size.extra_tokens,
                "input_tokens": needs.input_tokens,
                "max_output_tokens": needs.max_output_tokens,
                **_files_as_json(needs),
                **_media_as_json(needs),
            },
            "cost_priority": self.weights.cost_priority,
            "performance_priority": self.weights.performance_priority,
            "at": self.decided_at.isoformat(),
            "max_cost_usd": None if self.max_cost_usd is None else str(self.max_cost_usd),
            "session": session
            and {
                "model": session.model,
                "warm_tokens": session.warm_tokens,
                "is_in_tool_loop": session.is_in_tool_loop,
                "is_main_thread": session.is_main_thread,
            },
            "floor": None if self.quality_floor is None else [self.floor_model, self.quality_floor],
            "allow_free": self.allow_free,
            "performance": self.performance.as_json(),
            **self._rare_as_json(),
        }

    def _rare_as_json(self) -> dict[str, Any]:
        """Return what most requests do not have, and records leave out then."""
        found: dict[str, Any] = {}
        if self.learned is not None:
            found["learned"] = self.learned.as_json()
        if self.is_verified:
            found["is_verified"] = True
        if self.allowed_models is not None:
            found["allowed_models"] = list(self.allowed_models)
        if self.constraints is not NO_CONSTRAINTS:
            found["constraints"] = self.constraints.as_json()
        if not self.billable.is_plain:
            found["billable"] = _BILLABLE_ADAPTER.dump_python(self.billable, mode="json")
        return found


def _files_as_json(needs: Needs) -> dict[str, Any]:
    if not needs.files and not needs.max_file_tokens and not needs.is_prompt_open:
        return {}
    return {
        "files": needs.files,
        "max_file_tokens": needs.max_file_tokens,
        "is_prompt_open": needs.is_prompt_open,
    }


def _media_as_json(needs: Needs) -> dict[str, Any]:
    if not needs.media_tokens:
        return {}
    return {
        "replaceable_media": int(needs.replaceable_media),
        "asked_media": int(needs.asked_media),
        "media_tokens": [[int(kind), count] for kind, count in needs.media_tokens],
    }


def inputs_from_json(features: Mapping[str, Any], task: Task) -> DecisionInputs:
    """Return the inputs of a record.

    Args:
        features: the `features` of the record.
        task: its task; see `task_from_json`.

    Raises:
        KeyError, TypeError, ValueError: this is not a record of a decision.
    """
    needs, session, ceiling = features["needs"], features["session"], features["max_cost_usd"]
    scope, learned = features.get("allowed_models"), features.get("learned")
    floor_model, floor = features.get("floor") or (None, None)
    return DecisionInputs(
        requested=features["requested"],
        needs=_needs_from_json(needs),
        task=task,
        weights=Weights(
            cost_priority=features["cost_priority"],
            performance_priority=features["performance_priority"],
        ),
        allow_free=bool(features.get("allow_free")),
        is_verified=bool(features.get("is_verified")),
        floor_model=floor_model,
        quality_floor=floor,
        decided_at=datetime.fromisoformat(features["at"]),
        max_cost_usd=None if ceiling is None else Decimal(ceiling),
        allowed_models=None if scope is None else tuple(scope),
        constraints=_constraints_from_json(features),
        billable=_BILLABLE_ADAPTER.validate_python(features.get("billable", {})),
        session=SessionState(**session) if session else None,
        learned=None if learned is None else expectation_from_json(learned),
        performance=PerformanceView.from_json(features["performance"]),
    )


def _constraints_from_json(features: Mapping[str, Any]) -> Constraints:
    """Return the constraints; until November 2026 records had only one, among the needs."""
    was_private = features["needs"].get("is_zero_retention")
    return constraints_from_json(features.get("constraints") or (was_private and {"zdr": True}))


def _needs_from_json(needs: Mapping[str, Any]) -> Needs:
    return Needs(
        capabilities=Capability(needs["capabilities"]),
        size=TextSize(
            needs["letters"],
            needs["signs"],
            needs["wide_chars"],
            needs["schema_chars"],
            needs["extra_tokens"],
            needs.get("digits", 0),
        ),
        input_tokens=needs["input_tokens"],
        max_output_tokens=needs["max_output_tokens"],
        files=needs.get("files", 0),
        max_file_tokens=needs.get("max_file_tokens", 0),
        is_prompt_open=needs.get("is_prompt_open", False),
        replaceable_media=Capability(needs.get("replaceable_media", 0)),
        asked_media=Capability(needs.get("asked_media", 0)),
        media_tokens=tuple(
            (Capability(kind), count) for kind, count in needs.get("media_tokens", ())
        ),
    )
