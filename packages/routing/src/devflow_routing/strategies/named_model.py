"""Routes requests to the model that the caller names, then to its configured fallbacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from devflow_core.errors import (
    BudgetExceeded,
    ContextTooLong,
    DevFlowError,
    InvalidRequest,
    NoCandidate,
    UnknownModel,
)
from devflow_core.routing import Candidate, Exclusion, Route
from devflow_core.safe_text import clean_name
from devflow_core.scope import is_in_scope, out_of_scope_error, unknown_price_error
from devflow_core.tokens import family_of

from devflow_routing.capabilities import (
    NO_CAPABILITIES,
    Capability,
    Needs,
    describe_capabilities,
    media_kinds,
)
from devflow_routing.decision_inputs import DecisionInputs
from devflow_routing.model_config import ModelConfig
from devflow_routing.model_selector import ModelSelector
from devflow_routing.policy import RoutingPolicy
from devflow_routing.trackers.performance import NOTHING_MEASURED
from devflow_routing.worst_case import WorstCases, token_bounds

_MAX_CHAINS = 1_000
"""The most chains that are kept; bounded, since callers may name anything."""

Chain = tuple[tuple[ModelConfig, str], ...]
"""Models in the order in which they are asked, each with the unknown name it stands in for."""


class NamedModelStrategy:
    """Serves requests that name a model, or several separated by commas.

    Args:
        selector: gives the catalogue.
        policy: the user's settings: fallbacks, aliases, and whether a price may be unknown.
    """

    def __init__(self, selector: ModelSelector, policy: RoutingPolicy) -> None:
        self._catalogue = selector.catalogue
        self._policy = policy
        self._chains: dict[tuple[str, tuple[str, ...] | None], Chain] = {}

    def route(self, inputs: DecisionInputs, target: str, snapshot: Mapping[str, str]) -> Route:
        """Return the chain of the named model.

        Where no model can be asked, the error is that of the first one.

        Args:
            inputs: what the decision is made from.
            target: the name, or several separated by commas.
            snapshot: the versions that the route records.

        Raises:
            UnknownModel: there is no model of this name, nor one of its family.
            NoCandidate: it lacks tools that the request needs, or nothing was named.
            ContextTooLong: the prompt is longer than its window.
            InvalidRequest: it cannot take media in the newest message.
            BudgetExceeded: it may cost more than the ceiling.
            UnknownPrice: its worst case is unknown and has to be known.
            Forbidden: it is outside the scope of the client key.
        """
        chain = self._resolve_chain(target, inputs.allowed_models)
        candidates: list[Candidate] = []
        left_out: list[Exclusion] = []
        first_error: DevFlowError | None = None
        costs = WorstCases(self._catalogue, inputs.needs, inputs.billable)
        for index, (model, unknown_name) in enumerate(chain):
            reason = "named by the caller" if index == 0 else "a configured fallback"
            if unknown_name:
                reason += f" as {unknown_name}, of whose family it is the newest"
            candidate = self._build_candidate(model, inputs, costs, reason, unknown_name)
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
            criteria=inputs.as_criteria(),
            # it asks nobody about speed, and dozens of models have one
            features=replace(inputs, performance=NOTHING_MEASURED).as_json(),
            snapshot=snapshot,
            is_verified=inputs.is_verified,
        )

    def _resolve_chain(self, target: str, scope: tuple[str, ...] | None) -> Chain:
        """Return the models of a name, with fallbacks; cached for names that can be answered."""
        key = (target, scope)
        known = self._chains.get(key)
        if known is not None:
            return known
        names = [name.strip() for name in target.split(",") if name.strip()]
        links = [self._find_model(name, scope) for name in names]
        for name in [one for model, _ in links for one in self._policy.fallbacks_of(model.id)]:
            try:
                links.append((self._catalogue.find(self._policy.resolve(name)), ""))
            except UnknownModel:  # a fallback that was retired must not fail the request
                continue
        chain: dict[str, tuple[ModelConfig, str]] = {}
        for model, unknown_name in links:
            chain.setdefault(model.id, (model, unknown_name))
        resolved = tuple(chain.values())
        if len(self._chains) < _MAX_CHAINS:
            self._chains[key] = resolved
        return resolved

    def _find_model(self, name: str, scope: tuple[str, ...] | None) -> tuple[ModelConfig, str]:
        """Return the model of a name, and the name itself if another model stands in for it."""
        is_known = self._catalogue.lookup(name) is not None
        return self._catalogue.find_or_newest(name, scope), "" if is_known else clean_name(
            name
        ) or "?"

    def _check_candidate(
        self, model: ModelConfig, candidate: Candidate, inputs: DecisionInputs
    ) -> DevFlowError | None:
        """Return the error if this model cannot be asked; None if it can."""
        scope = inputs.allowed_models
        if scope is not None and not is_in_scope(scope, model.id):
            return out_of_scope_error(scope, model.id)
        error = _check_capabilities(model, inputs.needs)
        if error is not None:
            return error
        min_tokens = _min_tokens(model, inputs.needs)
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
        self,
        model: ModelConfig,
        inputs: DecisionInputs,
        costs: WorstCases,
        reason: str,
        unknown_name: str,
    ) -> Candidate:
        needs = inputs.needs
        unreadable = _unreadable_media(model, needs)
        if unreadable:
            needs = needs.without_media(unreadable)
            costs = WorstCases(self._catalogue, needs, inputs.billable)
        bounds = token_bounds(model, needs, has_ceiling=inputs.max_cost_usd is not None)
        return Candidate(
            model=model.id,
            reason=reason,
            stands_in_for=unknown_name,
            unreadable_media=media_kinds(unreadable),
            price=model.price,
            max_input_tokens=model.context_length,
            input_tokens=bounds.input,
            max_output_tokens=bounds.output,
            **costs.candidate_terms(model, bounds),
        )


def _check_capabilities(model: ModelConfig, needs: Needs) -> DevFlowError | None:
    """Return the error if the model cannot do what the request needs; None if it can.

    Only tools, and media in the newest message, are checked. A note replaces other media, and the
    provider silently drops other parameters that a model does not support (observed in 2026-08).
    """
    if not model.name:  # a preset, of which nothing is known
        return None
    if Capability.TOOLS in needs.capabilities & ~model.capabilities:
        return NoCandidate(
            f"{model.id} lacks tools. Name another model, or use auto.", model=model.id
        )
    unseen = needs.asked_media & ~model.capabilities
    if unseen:
        media = describe_capabilities(unseen)
        return InvalidRequest(
            f"{model.id} cannot take {media}, and the newest message holds {media}. Name a model "
            "that can, use auto, or leave them out.",
            model=model.id,
        )
    return None


def _unreadable_media(model: ModelConfig, needs: Needs) -> Capability:
    """Return the media of the request that become notes at this model."""
    if not needs.replaceable_media or not model.name:
        return NO_CAPABILITIES
    return needs.capabilities & needs.replaceable_media & ~model.capabilities


def _min_tokens(model: ModelConfig, needs: Needs) -> int:
    if needs.input_tokens is not None:
        return needs.input_tokens
    family = family_of(model.id, model.tokenizer)
    unreadable = _unreadable_media(model, needs)
    size = needs.without_media(unreadable).size if unreadable else needs.size
    return int(size.estimate_tokens(family) * (1 - family.error))
