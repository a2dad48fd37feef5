"""Routes requests that leave the choice to the router: the best of the eligible models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import chain

import numpy as np
from devflow_core.routing import Candidate, Route, ScoreTerms, Task, TaskType
from devflow_core.verification import VERIFIED_MODE

from devflow_routing.ability import AbilityTable
from devflow_routing.cost_optimizer import NEGLIGIBLE_USD, CostOptimizer, ModelEstimates
from devflow_routing.decision_inputs import DecisionInputs
from devflow_routing.model_selector import (
    NO_LIMIT,
    Exclusions,
    Flags,
    Floats,
    ModelSelector,
    Selection,
)
from devflow_routing.policy import RoutingPolicy
from devflow_routing.strategies.alternatives import find_alternatives
from devflow_routing.strategies.escalation import pick_escalation
from devflow_routing.strategies.learned_choice import LearnedChoice
from devflow_routing.strategies.narrowing import LimitOf, Narrowing
from devflow_routing.strategies.ordering import BALANCE, ORDERINGS, Ordering
from devflow_routing.worst_case import DEFAULT_OUTPUT_TOKENS, TokenBounds, WorstCases

_MAX_FALLBACK_COST_RATIO = 4.0
"""The most that a fallback may cost, as a multiple of what the chosen model is expected to cost.

It keeps a failure from multiplying the bill.
"""
_MAX_PICKED = 24
"""The most models that are picked one by one; a chain takes a few, and sorting all takes longer."""
_MAX_DESCRIBED = 4_096
"""The most descriptions of evidence that are kept, by model, kind of task and difficulty."""


@dataclass(frozen=True, slots=True, eq=False)
class _Considered:
    """What one decision is made of: the eligible models, and what each is worth."""

    inputs: DecisionInputs
    ordering: Ordering
    selection: Selection
    estimates: ModelEstimates
    scores: Floats
    """The highest comes first."""
    is_learned: bool
    """Whether what was learned from the user's own answers is in the estimates."""
    limit_of: LimitOf
    """Tells the longest reply of each model."""
    reaches_floor: Flags | None
    """Which models reach the floor of quality; None if there is none."""
    escalation: tuple[int, ...] = ()
    """The models that answer one after the other until an answer is accepted."""


class AutoStrategy:
    """Chooses among all models of the catalogue.

    Args:
        selector: decides which models are eligible.
        ability: estimates how good their replies are.
        policy: the user's settings.
        preferred: the ids of the models that come first, in this order, where they are eligible.
    """

    def __init__(
        self,
        selector: ModelSelector,
        ability: AbilityTable,
        policy: RoutingPolicy,
        preferred: tuple[str, ...] = (),
    ) -> None:
        self._selector = selector
        self._ability = ability
        self._policy = policy
        self._optimizer = CostOptimizer(selector)
        self._authors = [model.author for model in selector.models]
        self._preferred = tuple(
            selector.index[name] for name in preferred if name in selector.index
        )
        # what was measured is sorted for each description, and requests differ in few tasks
        self._describe = lru_cache(maxsize=_MAX_DESCRIBED)(self._describe_evidence)
        self._narrowing = Narrowing(selector, ability, policy, self._preferred)

    def route(
        self, inputs: DecisionInputs, target: str, snapshot: Mapping[str, str], *, include_all: bool
    ) -> Route:
        """Return the chain for a mode (`auto…`) or a pattern of models.

        Args:
            inputs: what the decision is made from.
            target: the mode or the pattern.
            snapshot: the versions that the route records.
            include_all: whether every eligible model becomes a candidate, to explain the choice.

        Raises:
            NoCandidate: no model can take the request.
            UnknownModel: the pattern matches no model.
            ContextTooLong: the prompt is longer than every window.
            Forbidden: no eligible model is within the scope of the client key.
            BudgetExceeded: models could, but none is sure to stay within the cost ceiling.
            UnknownPrice: the worst case of all of them is unknown.
        """
        costs = WorstCases(self._selector.catalogue, inputs.needs, inputs.billable)
        found = self._consider(inputs, target, costs)
        is_verified = inputs.is_verified or target == VERIFIED_MODE
        if is_verified:
            order = list(self._rank(found))
            picked = pick_escalation(order, found.estimates, self._policy.chain_length)
            found = replace(found, escalation=tuple(picked))
            order = dict.fromkeys((*picked, *order))
        else:
            picked = self._pick_chain(self._rank(found), found.estimates)
            order = self._rank(found) if include_all else ()
        # the turns are those of public evidence
        has_turns = include_all and found.ordering is BALANCE and not found.is_learned
        return Route(
            candidates=tuple(
                self._build_candidate(place, index, found, costs)
                for place, index in enumerate(order if include_all else picked)
            ),
            is_verified=is_verified,
            task=inputs.task,
            requested=inputs.requested,
            excluded=Exclusions(found.selection),
            criteria=inputs.as_criteria(),
            features=inputs.as_json(),
            snapshot=snapshot,
            find_alternatives=partial(
                find_alternatives,
                picked[0],
                found.selection,
                found.estimates,
                inputs if has_turns else None,
            ),
        )

    def _consider(self, inputs: DecisionInputs, target: str, costs: WorstCases) -> _Considered:
        """Narrow the models down to the eligible ones, and give each of them its score."""
        ordering, narrowing = ORDERINGS.get(target, BALANCE), self._narrowing
        selection = narrowing.by_needs(inputs, target)
        expected = self._ability.estimate(inputs.task)
        learned = self._find_learned(inputs, selection)
        if learned is not None:
            expected = learned.merge(expected)
        estimates = self._optimizer.estimate(inputs, selection, expected)
        # quality before cost: a model is compared with the best that is able, not with the best
        # that a low ceiling leaves, so that too low a ceiling is an error and not a poor reply
        selection = narrowing.by_quality(selection, inputs, estimates, ordering)
        selection, reaches_floor = narrowing.by_floor(selection, inputs)
        limit_of = partial(self._limit_reply, selection, estimates, inputs)
        selection = narrowing.by_cost(selection, inputs, limit_of, costs)
        scores = ordering.score(estimates, inputs.weights, inputs.task.difficulty)
        if learned is not None and ordering is BALANCE:
            scores = learned.score(scores, estimates, inputs.weights)
        return _Considered(
            inputs=inputs,
            ordering=ordering,
            selection=selection,
            estimates=estimates,
            is_learned=learned is not None,
            reaches_floor=reaches_floor,
            scores=scores,
            limit_of=limit_of,
        )

    def _find_learned(self, inputs: DecisionInputs, selection: Selection) -> LearnedChoice | None:
        """Return what was learned for this request; None if nothing was that applies."""
        if inputs.learned is None:
            return None
        found = LearnedChoice(inputs.learned, self._selector.index, selection.eligible)
        return found if found.applies else None

    def _rank(self, found: _Considered) -> Iterator[int]:
        """Yield all eligible models: preferred ones first, then by score, then as listed.

        Without a preferred one the model of the session comes first, unless another is better by
        enough to move, which neither a loop of tools nor the main thread ever does.
        """
        eligible, scores = found.selection.eligible, found.scores
        ranked = _rank_by_score(eligible, scores)
        first = [index for index in self._preferred if eligible[index]]
        session = found.inputs.session
        own = session and self._selector.index.get(session.model)
        if not first and session and own is not None and eligible[own]:
            best = next(ranked)
            stays = session.is_in_tool_loop or session.is_main_thread
            if stays or float(scores[best] - scores[own]) < found.ordering.min_gain:
                first = [own]
            ranked = chain((best,), ranked)
        if not first:
            return ranked
        return chain(first, (index for index in ranked if index not in first))

    def _pick_chain(self, order: Iterator[int], estimates: ModelEstimates) -> list[int]:
        """Return the first of the order and its fallbacks, those of other makers first.

        Models that cost too much more than the first one are no fallbacks.
        """
        first, cost_usd = next(order), estimates.cost_usd
        limit = _MAX_FALLBACK_COST_RATIO * float(cost_usd[first]) + NEGLIGIBLE_USD
        picked, same_maker, makers = [first], list[int](), {self._authors[first]}
        length = self._policy.chain_length
        while len(picked) < length and (index := next(order, None)) is not None:
            if cost_usd[index] > limit:
                continue
            if self._authors[index] in makers:
                same_maker.append(index)
            else:
                makers.add(self._authors[index])
                picked.append(index)
        return (picked + same_maker)[:length]

    def _build_candidate(
        self, place: int, index: int, found: _Considered, costs: WorstCases
    ) -> Candidate:
        model, estimates = self._selector.models[index], found.estimates
        bounds = TokenBounds(found.selection.upper_tokens(index), found.limit_of(index))
        return Candidate(
            model=model.id,
            reason=self._explain_place(place, index, found),
            score=float(found.scores[index]),
            terms=ScoreTerms(
                quality=float(estimates.quality[index]),
                cost_usd=float(estimates.cost_usd[index]),
                latency_s=float(estimates.latency_s[index])
                if estimates.is_measured[index]
                else None,
                switch_cost_usd=float(estimates.switch_cost_usd[index]),
            ),
            price=model.price,
            max_input_tokens=model.context_length,
            input_tokens=bounds.input,
            max_output_tokens=bounds.output,
            **costs.candidate_terms(model, bounds),
        )

    def _limit_reply(
        self,
        selection: Selection,
        estimates: ModelEstimates,
        inputs: DecisionInputs,
        index: int,
    ) -> int:
        """Return the longest reply of a model: the request's limit, its own, or its window's.

        Under a ceiling, no more than the usual length is asked for.
        """
        requested = selection.needs.max_output_tokens
        if requested is not None:
            return requested
        model, room = self._selector.models[index], NO_LIMIT
        if model.context_length is not None:
            room = model.context_length - selection.upper_tokens(index)
        if model.max_output_tokens is not None and model.max_output_tokens < room:
            room = model.max_output_tokens
        if inputs.max_cost_usd is not None:
            room = min(room, DEFAULT_OUTPUT_TOKENS)
        return room if room > 0 else int(min(estimates.output_tokens[index], 1))

    def _describe_evidence(self, index: int, kind: TaskType, difficulty: float) -> str:
        """Return what is known of a model for a kind of task, in words."""
        task = Task(type=kind, complexity="medium", confidence=1.0, difficulty=difficulty)
        return self._ability.describe(index, task)

    def _explain_place(self, place: int, index: int, found: _Considered) -> str:
        """Return the reason for a model's place in the chain."""
        inputs, estimates = found.inputs, found.estimates
        model = self._selector.models[index].id
        evidence = self._describe_source(index, found)
        known = (
            f"{estimates.likely_quality(index):.0%} likely to be good, at least"
            f" {estimates.quality[index]:.0%} ({evidence})"
        )
        if inputs.session and inputs.session.model == model:
            lead = "the session is there"
        elif index in self._preferred:
            lead = "preferred in the settings"
        elif model in inputs.performance.resting:
            lead = "rests after it failed"
        elif place == 0:
            lead = found.ordering.reason
        elif index in found.escalation:
            lead = "answers if the one before is refused"
        else:
            return known
        floor = ""
        is_above = found.reaches_floor is not None and bool(found.reaches_floor[index])
        if place == 0 and is_above and inputs.floor_model:
            floor = f", at least {inputs.quality_floor:.0%} as good as {inputs.floor_model}"
        return f"{lead}{floor}: {known}"

    def _describe_source(self, index: int, found: _Considered) -> str:
        """Return where the expected quality of a model comes from."""
        learned = found.inputs.learned
        if found.is_learned and learned and self._selector.models[index].id in learned.models:
            return learned.describe()
        task = found.inputs.task
        return self._describe(index, task.type, round(task.difficulty, 1))


def _rank_by_score(eligible: Flags, scores: Floats) -> Iterator[int]:
    """Yield the eligible models by descending score, then as listed; NaN counts as lowest."""
    places = eligible.nonzero()[0]
    left, picked = scores.take(places), list[int]()
    while len(picked) < min(len(places), _MAX_PICKED):
        best = int(left.argmax())  # the first of equals; NaN, if there is any
        if not left[best] > -np.inf:
            break
        yield int(places[best])
        picked.append(best)
        left[best] = -np.inf
    rest = np.delete(places, picked)
    yield from rest[(-scores[rest]).argsort(kind="stable")].tolist()
