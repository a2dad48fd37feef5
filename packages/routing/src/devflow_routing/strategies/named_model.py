"""Routes requests to the model that the caller names, then to its configured fallbacks."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from devflow_core.errors import (
    BudgetExceeded,
    ContextTooLong,
    DevFlowError,
    NoCandidate,
    UnknownModel,
)
from devflow_core.routing import Candidate, Exclusion, Route
from devflow_core.scope import is_in_scope, out_of_scope_error, unknown_price_error
from devflow_core.tokens import family_of

from devflow_routing.capabilities import Capability, describe_capabilities
from devflow_routing.decision_inputs import DecisionInputs
from devflow_routing.model_config import ModelConfig
from devflow_routing.model_selector import ModelSelector
from devflow_routing.policy import RoutingPolicy
from devflow_routing.worst_case import WorstCases, token_bounds

_REQUIRED_CAPABILITIES = Capability.TOOLS | Capability.IMAGES | Capability.AUDIO | Capability.VIDEO
"""A request is refused if one of these is missing.

Others are silently dropped by the provider or, for files, worked around (observed in 2026-08).
"""


class NamedModelStrategy:
    """Serves requests that name a model, or several separated by commas.

    Args:
        selector: the models of the catalogue.
        policy: the user's fallbacks.
    """

    def __init__(self, selector: ModelSelector, policy: RoutingPolicy) -> None:
        self._catalogue = selector.catalogue
        self._policy = policy
        self._chains: dict[str, tuple[ModelConfig, ...]] = {}

    def route(self, inputs: DecisionInputs, target: str, snapshot: Mapping[str, str]) -> Route:
        """Return the chain of the named model.

        Raises:
            UnknownModel: there is no model of this name.
            NoCandidate, ContextTooLong: neither it nor a fallback can take the request.
            BudgetExceeded: none can within the cost ceiling, or a cost that must be known is not.
            Forbidden: none is within the scope of the client key.
        """
        chain = self._resolve_chain(target)
        candidates: list[Candidate] = []
        left_out: list[Exclusion] = []
        first_error: DevFlowError | None = None
        costs = WorstCases(self._catalogue, inputs.needs, inputs.billable)
        for index, model in enumerate(chain):
            candidate = self._build_candidate(model, inputs, costs, is_first=index == 0)
            error = self._check_candidate(model, candidate, inputs)
            if error is None:
                candidates.append(candidate)
            else:
                first_error = first_error or error
                left_out.append(Exclusion(model=model.id, reason=error.message))
        if not candidates:
            raise first_error or NoCandidate(f"{target!r} names no model.")
        return Route(
            candidates=tuple(candidates),
            task=inputs.task,
            requested=inputs.requested,
            excluded=tuple(left_out),
            criteria=inputs.criteria,
            features=inputs.as_json(),
            snapshot=snapshot,
        )

    def _resolve_chain(self, target: str) -> tuple[ModelConfig, ...]:
        """Return the models of a name, with fallbacks; cached for names that are known."""
        known = self._chains.get(target)
        if known is not None:
            return known
        names = [name.strip() for name in target.split(",") if name.strip()]
        models = [self._catalogue.find(name) for name in names]
        for name in [one for model in models for one in self._policy.fallbacks_of(model.id)]:
            try:
                models.append(self._catalogue.find(self._policy.resolve(name)))
            except UnknownModel:  # a fallback that was retired must not fail the request
                continue
        chain = tuple({model.id: model for model in models}.values())
        if len(self._chains) < 1_000:  # a bound, since callers may name anything
            self._chains[target] = chain
        return chain

    def _check_candidate(
        self, model: ModelConfig, candidate: Candidate, inputs: DecisionInputs
    ) -> DevFlowError | None:
        """Return the error if this model cannot be asked; None if it can."""
        scope = inputs.allowed_models
        if scope is not None and not is_in_scope(scope, model.id):
            return out_of_scope_error(scope, model.id)
        missing = inputs.needs.capabilities & _REQUIRED_CAPABILITIES & ~model.capabilities
        if missing and model.name:
            return NoCandidate(
                f"{model.id} lacks {describe_capabilities(missing)}. "
                "Name another model, or use auto.",
                model=model.id,
            )
        min_tokens = _min_tokens(model, inputs)
        if model.context_length is not None and min_tokens > model.context_length:
            return ContextTooLong(
                # Claude Code knows by this wording that compaction helps
                f"prompt is too long: {min_tokens} tokens > {model.context_length} maximum of "
                f"{model.id}. "
                "Name a model with a larger window, use auto, or shorten the request.",
                model=model.id,
            )
        return self._check_budget(candidate, inputs.max_cost_usd)

    def _check_budget(self, candidate: Candidate, ceiling: Decimal | None) -> DevFlowError | None:
        worst_usd = candidate.worst_case_usd
        if worst_usd is None:
            if ceiling is None and self._policy.allow_unknown_price:
                return None
            return unknown_price_error(candidate)
        if ceiling is not None and worst_usd > ceiling:
            return BudgetExceeded(
                f"{candidate.model} may cost up to {worst_usd:f} USD, the limit is {ceiling:f} USD."
                " Lower max_tokens, name a cheaper model, or raise the limit.",
                model=candidate.model,
            )
        return None

    def _build_candidate(
        self, model: ModelConfig, inputs: DecisionInputs, costs: WorstCases, *, is_first: bool
    ) -> Candidate:
        bounds = token_bounds(model, inputs.needs, has_ceiling=inputs.max_cost_usd is not None)
        return Candidate(
            model=model.id,
            reason="named by the caller" if is_first else "a configured fallback",
            price=model.price,
            max_input_tokens=model.context_length,
            input_tokens=bounds.input,
            max_output_tokens=bounds.output,
            **costs.candidate_terms(model, bounds),
        )


def _min_tokens(model: ModelConfig, inputs: DecisionInputs) -> int:
    needs = inputs.needs
    if needs.input_tokens is not None:
        return needs.input_tokens
    family = family_of(model.id, model.tokenizer)
    return int(needs.size.estimate_tokens(family) * (1 - family.error))
