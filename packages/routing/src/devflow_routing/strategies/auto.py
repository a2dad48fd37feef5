"""Routes requests that leave the choice to the router: the best value among eligible models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase

import numpy as np
from devflow_core.errors import (
    BudgetExceeded,
    ContextTooLong,
    NoCandidate,
    UnknownModel,
    UnknownPrice,
)
from devflow_core.routing import Candidate, Route, ScoreTerms
from devflow_core.scope import (
    OUT_OF_SCOPE,
    is_in_scope,
    out_of_scope_error,
    unknown_price_message,
)

from devflow_routing.cost_optimizer import (
    NEGLIGIBLE_USD,
    CostOptimizer,
    ModelEstimates,
)
from devflow_routing.decision_inputs import DecisionInputs
from devflow_routing.model_selector import (
    REPLY_RESERVE_TOKENS,
    Exclusions,
    Floats,
    ModelSelector,
    Selection,
)
from devflow_routing.policy import MODES, RoutingPolicy
from devflow_routing.quality import QualityTable
from devflow_routing.strategies.learned_choice import apply_learned
from devflow_routing.worst_case import DEFAULT_OUTPUT_TOKENS, TokenBounds, WorstCases

_MAX_FALLBACK_COST_RATIO = 4.0
"""The most that a fallback may cost, as a multiple of the chosen model: no failure costs a lot."""
_MIN_QUALITY_RATIO = 0.5
"""The share of the best eligible quality below which no model is chosen automatically."""
_MIN_SWITCH_GAIN = 0.01
"""The gain in utility that makes a session move to another model."""


class AutoStrategy:
    """Chooses among all models of the catalogue.

    Args:
        selector: decides which models are eligible.
        quality: estimates how good their replies are.
        policy: the user's settings.
    """

    def __init__(
        self, selector: ModelSelector, quality: QualityTable, policy: RoutingPolicy
    ) -> None:
        self._selector = selector
        self._quality = quality
        self._policy = policy
        self._optimizer = CostOptimizer(selector)
        self._authors = [model.author for model in selector.models]
        self._preferred = tuple(
            selector.index[name] for name in policy.preferred_models if name in selector.index
        )

    def route(
        self, inputs: DecisionInputs, target: str, snapshot: Mapping[str, str], *, include_all: bool
    ) -> Route:
        """Return the chain for a mode (`auto…`) or a pattern of models.

        Raises:
            NoCandidate: no model can take the request.
            UnknownModel: the pattern matches no model.
            ContextTooLong: the prompt is longer than every window.
            Forbidden: no eligible model is within the scope of the client key.
            BudgetExceeded: models could, but none within the cost ceiling, or the cost is unknown.
        """
        criteria = MODES.get(target) or inputs.criteria
        selection = self._select(inputs, target)
        quality = self._quality.estimate(inputs.task)
        estimates = self._optimizer.estimate(inputs, selection, quality, criteria)
        if inputs.learned is not None:
            estimates = apply_learned(
                inputs.learned,
                self._selector.index,
                selection.eligible,
                quality,
                estimates,
                criteria,
            )
        # quality before cost: a model is compared with the best that is able, not with the best
        # that a low ceiling leaves, so that too low a ceiling is an error and not a poor reply
        selection = self._filter_by_quality(selection, inputs, estimates)
        limits = _output_limits(self._selector, selection, estimates, inputs)
        costs = WorstCases(self._selector.catalogue, inputs.needs, inputs.billable)
        selection = self._filter_by_cost(selection, inputs, limits, costs)
        order = self._rank(inputs, selection, estimates)
        chain = order if include_all else self._pick_chain(order, estimates)
        reasons = self._explain_choices(chain, inputs, estimates)
        return Route(
            candidates=tuple(
                self._build_candidate(
                    index, reason, _bounds_at(index, selection, limits), estimates, costs
                )
                for index, reason in zip(chain, reasons, strict=True)
            ),
            task=inputs.task,
            requested=inputs.requested,
            excluded=Exclusions(selection),
            criteria=criteria,
            features=inputs.as_json(),
            snapshot=snapshot,
        )

    def _select(self, inputs: DecisionInputs, target: str) -> Selection:
        """Return the models that are eligible, and match the pattern if one was asked for."""
        selection = self._selector.select(inputs.needs, today=inputs.decided_at.date())
        if target not in MODES:
            models = self._selector.models
            fits = np.array([fnmatchcase(model.id, target) for model in models], dtype=np.bool_)
            if not fits.any():
                raise UnknownModel(f"No model fits the pattern {target!r}.", model=target)
            selection = selection.with_filter(f"does not fit {target!r}", fits)
        scoped = self._filter_by_scope(selection, inputs.allowed_models)
        if scoped.eligible.any():
            return scoped
        too_long = self._context_error(inputs, scoped)
        if too_long is None and inputs.allowed_models is not None and selection.eligible.any():
            raise out_of_scope_error(inputs.allowed_models, inputs.requested)
        raise too_long or NoCandidate(_no_candidate_message(scoped, target))

    def _filter_by_scope(self, selection: Selection, scope: tuple[str, ...] | None) -> Selection:
        """Return the selection without models that the client key may not use."""
        if scope is None:
            return selection
        fits = np.array(
            [is_in_scope(scope, one.id) for one in self._selector.models], dtype=np.bool_
        )
        return selection.with_filter(OUT_OF_SCOPE, fits)

    def _context_error(self, inputs: DecisionInputs, selection: Selection) -> ContextTooLong | None:
        """Return the error if the prompt is longer than every window; None for any other cause."""
        needs = replace(inputs.needs, input_tokens=1)
        eligible = self._selector.select(needs, today=inputs.decided_at.date()).eligible
        for _reason, mask in selection.filters:
            eligible = eligible & mask
        if not eligible.any():
            return None
        reserve = inputs.needs.max_output_tokens or REPLY_RESERVE_TOKENS
        window = int(self._selector.windows[eligible].max())
        tokens = int(selection.upper_tokens[eligible].min()) + reserve
        return ContextTooLong(
            # Claude Code knows by this wording that compaction helps
            f"prompt is too long: {tokens} tokens > {window} maximum of every able model, "
            f"{reserve} for the reply included. Shorten the request or ask for a shorter reply."
        )

    def _filter_by_quality(
        self, selection: Selection, inputs: DecisionInputs, estimates: ModelEstimates
    ) -> Selection:
        """Exclude the models from which a good reply is unlikely, whatever they cost.

        Preferred models, and the one that the session uses, are always kept.
        """
        best = float(estimates.quality[selection.eligible].max())
        good_enough = estimates.quality >= _MIN_QUALITY_RATIO * best
        session_index = inputs.session and self._selector.index.get(inputs.session.model)
        good_enough[[*self._preferred, *([] if session_index is None else [session_index])]] = True
        return selection.with_filter("a good reply is too unlikely", good_enough)

    def _filter_by_cost(
        self, selection: Selection, inputs: DecisionInputs, limits: Floats, costs: WorstCases
    ) -> Selection:
        """Exclude the models whose exact worst case is unknown or over the request's ceiling."""
        ceiling = inputs.max_cost_usd
        if ceiling is None and (self._policy.allow_unknown_price or inputs.billable.is_plain):
            return selection
        fits, reason = selection.eligible.copy(), ""
        for index in np.flatnonzero(selection.eligible).tolist():
            worst = costs.of_call(
                self._selector.models[index], _bounds_at(index, selection, limits)
            )
            fits[index] = worst.usd is not None and (ceiling is None or worst.usd <= ceiling)
            reason = worst.reason or reason
        left_out = "its worst case is unknown"
        if ceiling is not None:
            left_out = f"may cost more than the limit of {ceiling:f} USD"
        narrowed = selection.with_filter(left_out, fits)
        if narrowed.eligible.any():
            return narrowed
        if reason:
            raise UnknownPrice(unknown_price_message(reason))
        raise BudgetExceeded(
            f"No able model is sure to stay under {ceiling:f} USD. Lower max_tokens, shorten "
            "the request, or raise the limit."
        )

    def _rank(
        self, inputs: DecisionInputs, selection: Selection, estimates: ModelEstimates
    ) -> list[int]:
        """Return all eligible models: preferred ones first, then by utility, then as listed."""
        utility = estimates.utility
        eligible = np.flatnonzero(selection.eligible)
        order: list[int] = eligible[(-utility[eligible]).argsort(kind="stable")].tolist()
        first = [index for index in self._preferred if selection.eligible[index]]
        session_index = inputs.session and self._selector.index.get(inputs.session.model)
        if (
            not first
            and inputs.session
            and session_index is not None
            and selection.eligible[session_index]
        ):
            gain = float(utility[order[0]] - utility[session_index])
            if inputs.session.is_in_tool_loop or gain < _MIN_SWITCH_GAIN:
                first = [session_index]
        return list(dict.fromkeys((*first, *order))) if first else order

    def _pick_chain(self, order: list[int], estimates: ModelEstimates) -> list[int]:
        """Return the first of the order and its fallbacks, other makers before the same one."""
        limit = _MAX_FALLBACK_COST_RATIO * float(estimates.cost_usd[order[0]]) + NEGLIGIBLE_USD
        chain, same_maker, makers = order[:1], list[int](), {self._authors[order[0]]}
        for index in order[1:]:
            if len(chain) == self._policy.chain_length:
                break
            if estimates.cost_usd[index] > limit:
                continue
            if self._authors[index] in makers:
                same_maker.append(index)
            else:
                makers.add(self._authors[index])
                chain.append(index)
        return (chain + same_maker)[: self._policy.chain_length]

    def _build_candidate(
        self,
        index: int,
        reason: str,
        bounds: TokenBounds,
        estimates: ModelEstimates,
        costs: WorstCases,
    ) -> Candidate:
        model = self._selector.models[index]
        return Candidate(
            model=model.id,
            reason=reason,
            score=float(estimates.utility[index]),
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

    def _explain_choices(
        self, chain: list[int], inputs: DecisionInputs, estimates: ModelEstimates
    ) -> list[str]:
        """Return the reason for the place of each model in the chain."""
        first = float(estimates.utility[chain[0]])
        session_index = inputs.session and self._selector.index.get(inputs.session.model)
        found: list[str] = []
        for place, index in enumerate(chain):
            source = self._quality.source_of(index)
            if inputs.learned and self._selector.models[index].id in inputs.learned.models:
                source = inputs.learned.describe()
            known = f"{estimates.quality[index]:.0%} likely to be good ({source})"
            if index == session_index:
                lead = "the session is there"
            elif index in self._preferred:
                lead = "preferred in the settings"
            elif place == 0:
                lead = "the best use of the money"
            else:
                lead = f"worth {abs(first - float(estimates.utility[index])):.3f} less"
            found.append(f"{lead}: {known}")
        return found


def _bounds_at(index: int, selection: Selection, limits: Floats) -> TokenBounds:
    return TokenBounds(int(selection.upper_tokens[index]), int(limits[index]))


def _output_limits(
    selector: ModelSelector, selection: Selection, estimates: ModelEstimates, inputs: DecisionInputs
) -> Floats:
    """Return the longest reply of each model: the request's limit, the model's, or its window's.

    Under a ceiling, no more than the usual length is asked for.
    """
    requested = selection.needs.max_output_tokens
    if requested is not None:
        return np.full(len(selector.models), float(requested))
    room = np.minimum(selector.max_output_tokens, selector.windows - selection.upper_tokens)
    if inputs.max_cost_usd is not None:
        room = np.minimum(room, DEFAULT_OUTPUT_TOKENS)
    return np.maximum(room, np.minimum(estimates.output_tokens, 1))


def _no_candidate_message(selection: Selection, target: str) -> str:
    """Return why no model is left, with the most common reasons."""
    counts = Counter(one.reason for one in Exclusions(selection))
    common = "; ".join(f"{count}: {reason}" for reason, count in counts.most_common(3))
    return f"No model can take this request as {target!r}. {common}. Name a model, or ask for less."
