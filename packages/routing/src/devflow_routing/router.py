"""Chooses the models that answer: resolves names and orders the eligible models, with reasons."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import Any

import orjson
from devflow_core.billable import read_billable
from devflow_core.clocks import utc_now
from devflow_core.errors import InvalidRequest
from devflow_core.ledger import LedgerEntry
from devflow_core.messages import ToolResult
from devflow_core.ports import Router as RouterPort
from devflow_core.request import ChatRequest
from devflow_core.routing import Route, SelectionCriteria, Task

from devflow_routing.ability import AbilityTable
from devflow_routing.capabilities import NO_CAPABILITIES, needs_of
from devflow_routing.catalogue import Catalogue
from devflow_routing.classifier.features import extract_features
from devflow_routing.constraints import read_constraints
from devflow_routing.decision import task_from_json
from devflow_routing.decision_inputs import DecisionInputs, SessionState, inputs_from_json
from devflow_routing.evidence.scores import Evidence
from devflow_routing.feedback import Feedback
from devflow_routing.learned import LearnedExpectation, LearnedTable
from devflow_routing.model_selector import ModelSelector
from devflow_routing.policy import MODES, RoutingPolicy, Weights, is_pattern
from devflow_routing.strategies.auto import AutoStrategy
from devflow_routing.strategies.likely import find_likely_models
from devflow_routing.strategies.named_model import NamedModelStrategy
from devflow_routing.trackers.performance import PerformanceTracker
from devflow_routing.trackers.refused_questions import RefusedQuestions
from devflow_routing.trackers.sessions import BACKGROUND_KINDS, MAIN_AGENT, SessionTracker


class Router(RouterPort):
    """Chooses the models that may answer a request, in order, with reasons.

    A decision is a pure function of its `DecisionInputs` and of the snapshots that `Route.snapshot`
    names. A refused question that a client sends again, with more behind it, changes the inputs.

    Args:
        catalogue: the models.
        policy: the user's settings.
        evidence: scores of the models in benchmarks; None: the shipped ones.
        performance: the view of the speed and reliability of models.
        sessions: the view of which model each session last used.
        learned: what was learned from the user's own answers, if anything; assign another table to
            change it while running.
        clock: the time of decisions, in UTC.
    """

    def __init__(  # noqa: PLR0913 - everything that a choice depends on
        self,
        catalogue: Catalogue,
        *,
        policy: RoutingPolicy | None = None,
        evidence: Evidence | None = None,
        performance: PerformanceTracker | None = None,
        sessions: SessionTracker | None = None,
        learned: LearnedTable | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.performance = performance or PerformanceTracker()
        self.sessions = sessions or SessionTracker()
        self.refused = RefusedQuestions()
        self.learned = learned
        self._clock = clock
        self._policy = policy or RoutingPolicy()
        self._evidence = evidence
        self._feedback = Feedback()
        self.set_catalogue(catalogue)

    @property
    def policy(self) -> RoutingPolicy:
        """The user's settings; assign another policy to change them while running."""
        return self._policy

    @policy.setter
    def policy(self, policy: RoutingPolicy) -> None:
        self._policy = policy
        self.set_catalogue(self.catalogue)

    preferred: Mapping[str, str | None]
    """The models that the settings prefer, as written there → as listed; None: there is none."""

    def set_catalogue(self, catalogue: Catalogue) -> None:
        """Use another catalogue from now on; takes milliseconds, then switches at once."""
        policy = self._policy
        selector = ModelSelector(catalogue)
        ability = AbilityTable(selector.models, self._evidence, self._feedback)
        self.preferred = {
            name: found.id if (found := catalogue.find_successor(policy.resolve(name))) else None
            for name in policy.preferred_models
        }
        preferred = tuple(model for model in self.preferred.values() if model is not None)
        self._ability, self._places = ability, selector.index
        self._auto_strategy = AutoStrategy(selector, ability, policy, preferred)
        self._named_strategy = NamedModelStrategy(selector, policy)
        self.catalogue = catalogue
        self._versions = {
            "catalogue": catalogue.version,
            "prices": catalogue.version,
            "quality": ability.version,
            "policy": policy.version,
        }

    def set_evidence(self, evidence: Evidence) -> None:
        """Use other scores of models from now on; takes milliseconds, then switches at once."""
        self._evidence = evidence
        self.set_catalogue(self.catalogue)

    def record(self, entry: LedgerEntry, /) -> None:
        """Learn from an entry: its model's speed and reliability, and its session's model."""
        self.performance.record(entry)
        self.sessions.record(entry)

    def feedback(self, entry: LedgerEntry, score: float) -> bool:
        """Learn from a user's rating of an answer; return whether that changed anything.

        It changes nothing if the request failed, or unless the policy says so (`learn_quality`): on
        benchmarks, learning from single choices did harm wherever the public scores were right.

        Args:
            entry: the ledger's entry of the request.
            score: 0 (bad) to 1 (good).

        Raises:
            ValueError: the score is not within 0..1.
        """
        learned = self._feedback.with_score(entry.model, entry.task_type, score)
        if not self._policy.learn_quality or entry.outcome != "succeeded":
            return False
        self._feedback = learned
        self.set_catalogue(self.catalogue)
        return True

    def route(self, request: ChatRequest, task: Task, /) -> Route:
        """Return the candidates, in the order in which they are asked.

        Raises:
            RoutingError: no model can take the request, or none has the requested name.
            ContextTooLong: the prompt is longer than every window.
            Forbidden: no model is within the scope of the client key.
            BudgetExceeded: models could, but none within the cost ceiling, or the cost is unknown.
            InvalidRequest: the named model cannot take media in the newest message.
        """
        inputs = self._build_inputs(request, task)
        try:
            return self._decide(inputs, include_all=False)
        except InvalidRequest:  # the newest message holds media that the named model cannot take
            if not self.refused.is_continued_by(request):
                self.refused.record(request)
                raise
        # The caller was told once. Refused again, a session could not go on after its image.
        needs = replace(inputs.needs, asked_media=NO_CAPABILITIES)
        return self._decide(replace(inputs, needs=needs), include_all=False)

    def explain(self, request: ChatRequest, task: Task, /) -> Route:
        """Return the same decision with every eligible model in it; raises the errors of `route`.

        For a named model it is the route itself. A refusal for media is not remembered, and raised
        each time.
        """
        return self._decide(self._build_inputs(request, task), include_all=True)

    def list_likely_models(self, limit: int) -> tuple[str, ...]:
        """Return the ids of the models that are likely to be asked; see `find_likely_models`.

        It takes some milliseconds, since it decides for every kind of task and mode.

        Args:
            limit: the most ids that are returned.
        """
        return find_likely_models(self._policy, self.catalogue, self.route, limit=limit)

    def replay(self, record: str | Mapping[str, Any], *, include_all: bool = False) -> Route:
        """Repeat a recorded decision: over the same snapshots it gives exactly the same route.

        Args:
            record: the result of `encode_route` or `route_as_json`.
            include_all: whether every eligible model becomes a candidate.

        Raises:
            DevFlowError: no model can take the request any more; the errors are those of `route`.
            KeyError, TypeError, ValueError: this is not a record of a decision.
        """
        values: Mapping[str, Any] = orjson.loads(record) if isinstance(record, str) else record
        inputs = inputs_from_json(values["features"], task_from_json(values))
        versions = {**self._versions, "performance": values["snapshot"].get("performance", "0")}
        if inputs.learned is not None:
            versions["learned"] = inputs.learned.version
        route = self._decide(inputs, include_all=include_all)
        return replace(route, requested=values["requested"], snapshot=versions)

    def _decide(self, inputs: DecisionInputs, *, include_all: bool) -> Route:
        target = self._policy.resolve(inputs.requested)
        snapshot = {**self._versions, "performance": self.performance.version}
        if inputs.learned is not None:
            snapshot["learned"] = inputs.learned.version
        if target in MODES or is_pattern(target):
            return self._auto_strategy.route(inputs, target, snapshot, include_all=include_all)
        return self._named_strategy.route(inputs, target, snapshot)

    def _build_inputs(self, request: ChatRequest, task: Task) -> DecisionInputs:
        now = self._clock()
        node = self._policy.nodes.get(request.attribution.node or "", {})
        asked = request.criteria or _NO_CRITERIA
        floor_model, floor = self._find_floor(request, task, asked, node)
        billable, needs = read_billable(request), needs_of(request)
        if billable.max_output_tokens != needs.max_output_tokens:
            needs = replace(needs, max_output_tokens=billable.max_output_tokens)
        return DecisionInputs(
            requested=str(node.get("model", request.model)),
            needs=needs,
            task=task,
            weights=self._find_weights(asked, node),
            allow_free=self._policy.allow_free if asked.allow_free is None else asked.allow_free,
            decided_at=now,
            max_cost_usd=request.max_cost_usd,
            allowed_models=request.allowed_models,
            billable=billable,
            constraints=read_constraints(request),
            session=self._session_state(request, task, now),
            floor_model=floor_model,
            quality_floor=floor,
            learned=self._expect_learned(task),
            is_verified=request.verification is not None,
            performance=self.performance.view(as_of=now),
        )

    def _expect_learned(self, task: Task) -> LearnedExpectation | None:
        """Return what the learned table expects for a task.

        None without a table, if its best model is not listed any more, and for what harnesses ask
        for themselves, which nobody rates. Where the table says nothing, public evidence decides;
        without any on its best model that would be a guess, so that this model answers.
        """
        table = self.learned
        if table is None or task.type in BACKGROUND_KINDS:
            return None
        best = self._places.get(table.models[table.best])
        if best is None:
            return None
        found = table.expect(_extract_features(task.text) if task.text else None, task)
        if found is None and not self._ability.has_evidence[best]:
            return table.fall_back()
        return found

    def _find_weights(self, asked: SelectionCriteria, node: Mapping[str, Any]) -> Weights:
        """Return the request's weights, for want of them its node's, or else the settings'."""
        if asked is _NO_CRITERIA and not node:
            return self._policy.weights
        given = {
            "cost_priority": asked.cost_priority,
            "performance_priority": asked.performance_priority,
        }
        return self._policy.weights.with_given(node).with_given(given)

    def _find_floor(
        self, request: ChatRequest, task: Task, asked: SelectionCriteria, node: Mapping[str, Any]
    ) -> tuple[str | None, float | None]:
        """Return the model that the floor is measured by, and the floor; (None, None) for none.

        What harnesses ask for themselves has no floor unless the caller says so.
        """
        model = asked.floor_model
        if model is None and task.type not in BACKGROUND_KINDS:
            model = self.sessions.find_first_model(request.attribution.session_id)
        floor = node.get("quality_floor") if asked.quality_floor is None else asked.quality_floor
        if floor is not None:
            return model, float(floor)
        return (None, None) if model is None else (model, self._policy.quality_floor)

    def _session_state(
        self, request: ChatRequest, task: Task, now: datetime
    ) -> SessionState | None:
        attribution = request.attribution
        affinity = self.sessions.find_affinity(attribution.session_id, attribution.agent)
        if affinity is None or task.type in BACKGROUND_KINDS:
            return None
        last = request.messages[-1] if request.messages else None
        return SessionState(
            model=affinity.model,
            warm_tokens=affinity.warm_tokens(now),
            is_in_tool_loop=last is not None
            and any(isinstance(part, ToolResult) for part in last.parts),
            is_main_thread=attribution.agent == MAIN_AGENT,
        )


_NO_CRITERIA = SelectionCriteria()
# an agent's loop asks the same many times, as in the classifier
_extract_features = lru_cache(maxsize=16)(extract_features)
