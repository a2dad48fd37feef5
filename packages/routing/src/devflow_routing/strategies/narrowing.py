"""Narrows the models of a catalogue down to those that may be chosen for a request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cached_property

import numpy as np
from devflow_core.errors import (
    BudgetExceeded,
    ContextTooLong,
    NoCandidate,
    UnknownModel,
    UnknownPrice,
)
from devflow_core.scope import (
    OUT_OF_SCOPE,
    is_in_scope,
    out_of_scope_error,
    unknown_price_message,
)

from devflow_routing.ability import AbilityTable
from devflow_routing.constraints import NO_CONSTRAINTS, Constraints, Requirement
from devflow_routing.cost_optimizer import ModelEstimates
from devflow_routing.decision_inputs import DecisionInputs
from devflow_routing.endpoints import Endpoint
from devflow_routing.kept import keep
from devflow_routing.model_selector import (
    REPLY_RESERVE_TOKENS,
    Exclusions,
    Filters,
    Fitting,
    Flags,
    ModelSelector,
    Selection,
)
from devflow_routing.policy import MODES, RoutingPolicy, is_pattern
from devflow_routing.strategies.ordering import Ordering
from devflow_routing.worst_case import TokenBounds, WorstCases

_HARD = 0.8
"""The difficulty of the task by which the floor of quality is measured."""
LimitOf = Callable[[int], int]
"""Tells the longest reply of a model, in tokens, by its index."""
_MAX_CONSTRAINTS = 64
"""The most constraints whose masks are kept; bounded, since callers may send any."""


class Narrowing:
    """The filters of the automatic choice, in the order in which they are applied.

    Args:
        selector: decides which models can take a request.
        ability: what is expected of each model, and which were measured.
        policy: the user's settings.
        preferred: the indices of the models that the settings prefer; quality never excludes them.
    """

    def __init__(
        self,
        selector: ModelSelector,
        ability: AbilityTable,
        policy: RoutingPolicy,
        preferred: tuple[int, ...],
    ) -> None:
        self._selector = selector
        self._ability = ability
        self._policy = policy
        self._preferred = preferred
        self._asked: dict[
            tuple[Fitting, str, tuple[str, ...] | None, Constraints | None],
            tuple[Filters, Flags],
        ] = {}
        self._constraint_masks: dict[Constraints, tuple[tuple[Requirement, Flags], ...]] = {}

    def by_needs(self, inputs: DecisionInputs, target: str) -> Selection:
        """Return the models that can take the request, match the pattern and are within the scope.

        The request's own constraints, of providers and of models, are met as well.

        Raises:
            NoCandidate: no model can take the request, or none of those meets a constraint.
            UnknownModel: the pattern matches no model.
            ContextTooLong: the prompt is longer than every window.
            Forbidden: no eligible model is within the scope of the client key.
        """
        selection = self._selector.select(
            inputs.needs, today=inputs.decided_at.date(), allow_free=inputs.allow_free
        )
        constraints = None if inputs.constraints is NO_CONSTRAINTS else inputs.constraints
        key = (selection.fitting, target, inputs.allowed_models, constraints)
        known = self._asked.get(key)
        if known is not None:
            return selection.with_filters(*known)
        found = self._by_wishes(selection, inputs, target)
        keep(self._asked, key, (found.filters, found.eligible))
        return found

    def _by_wishes(self, selection: Selection, inputs: DecisionInputs, target: str) -> Selection:
        """Return the models that match the pattern, and are within scope and constraints."""
        if target not in MODES:
            models = self._selector.models
            fits = np.array([fnmatchcase(model.id, target) for model in models], dtype=np.bool_)
            if not fits.any():
                raise UnknownModel(f"No model fits the pattern {target!r}.", model=target)
            selection = selection.with_filter(f"does not fit {target!r}", fits)
        scoped = self._by_scope(selection, inputs.allowed_models)
        if scoped.eligible.any():
            return self._by_constraints(scoped, inputs.constraints, target)
        too_long = self._context_error(inputs, scoped)
        if too_long is None and inputs.allowed_models is not None and selection.eligible.any():
            raise out_of_scope_error(inputs.allowed_models, inputs.requested)
        raise too_long or NoCandidate(_no_candidate_message(scoped, target))

    def by_quality(
        self,
        selection: Selection,
        inputs: DecisionInputs,
        estimates: ModelEstimates,
        ordering: Ordering,
    ) -> Selection:
        """Exclude the models from which a good reply is unlikely, whatever they cost.

        Preferred models, and the one that the session uses, are always kept.
        """
        able = ordering.find_able(estimates, selection.eligible)
        for index in self._kept(inputs):
            able[index] = True
        return selection.with_filter(ordering.unable, able)

    def by_floor(
        self, selection: Selection, inputs: DecisionInputs
    ) -> tuple[Selection, Flags | None]:
        """Exclude the models that are below the floor, or that nobody has measured.

        The best eligible one always stays, and so do preferred ones and the session's own. Where
        nobody has measured any that is above the floor, the unmeasured ones stay as well. The floor
        is measured on a hard task of this kind: at easy ones all models are alike, and the next
        turn of a session may be hard.

        Returns:
            What is left, and which models reach the floor, as some stay that do not; None if there
            is no floor.
        """
        if inputs.quality_floor is None:
            return selection, None
        quality = self._ability.estimate(inputs.task, _HARD).lower
        floor, best = inputs.quality_floor, float(quality[selection.eligible].max())
        index = None if inputs.floor_model is None else self._find(inputs.floor_model)
        name = "the best one" if index is None else self._selector.models[index].id
        level = best if index is None else float(quality[index])
        reaches = quality >= floor * level
        fits = quality >= min(floor * level, best)
        measured = fits & self._ability.has_evidence
        if (measured & selection.eligible).any():
            fits = measured
        for index in self._kept(inputs):
            fits[index] = True
        reason = f"is below {floor:.0%} of what {name} is expected to do"
        return selection.with_filter(reason, fits), reaches

    def by_cost(
        self, selection: Selection, inputs: DecisionInputs, limit_of: LimitOf, costs: WorstCases
    ) -> Selection:
        """Exclude the models whose exact worst case is unknown or over the request's ceiling.

        Raises:
            BudgetExceeded: none is left, as all may cost more than the ceiling.
            UnknownPrice: none is left, and at least one has a worst case that is unknown.
        """
        ceiling = inputs.max_cost_usd
        if ceiling is None and (self._policy.allow_unknown_price or inputs.billable.is_plain):
            return selection
        fits, reason = selection.eligible.copy(), ""
        for index in np.flatnonzero(selection.eligible).tolist():
            bounds = TokenBounds(selection.upper_tokens(index), limit_of(index))
            worst = costs.of_call(self._selector.models[index], bounds)
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

    def _by_constraints(
        self, selection: Selection, constraints: Constraints, target: str
    ) -> Selection:
        """Exclude the models that the request's constraints leave out, each for its reason.

        A wish that none of those left meets is ignored.

        Raises:
            NoCandidate: none of those left meets a constraint that is not a wish.
        """
        if constraints is NO_CONSTRAINTS:
            return selection
        applied: list[str] = []
        for one, mask in self._find_constraint_masks(constraints):
            narrowed = selection.with_filter(one.reason, mask)
            if narrowed.eligible.any():
                applied.append(one.name)
                selection = narrowed
            elif not one.is_wish:
                count = int(np.count_nonzero(selection.eligible))
                raise NoCandidate(_unmet_message(one, count, target, applied))
        return selection

    def _find_constraint_masks(
        self, constraints: Constraints
    ) -> tuple[tuple[Requirement, Flags], ...]:
        """Return what is asked with the mask of the models that meet it and all before it."""
        known = self._constraint_masks.get(constraints)
        if known is not None:
            return known
        masks: list[tuple[Requirement, Flags]] = []
        if constraints.models:
            listed = Requirement("models", "not in the request's list of models", constraints.opens)
            masks.append((listed, self._find_listed(constraints.models)))
        left = [list(filter(constraints.opens, rows)) for rows in self._endpoints]
        for one in constraints.list_requirements():
            fits = [list(filter(one.allows, rows)) for rows in left]
            if not one.is_wish:
                left = fits
            masks.append((one, np.array([bool(rows) for rows in fits], dtype=np.bool_)))
        found = tuple(masks)
        return keep(self._constraint_masks, constraints, found, max_kept=_MAX_CONSTRAINTS)

    @cached_property
    def _endpoints(self) -> list[tuple[Endpoint, ...]]:
        """The endpoints of each model; made for the first request with a constraint."""
        return [self._selector.catalogue.endpoints_of(one) for one in self._selector.models]

    def _find_listed(self, names: tuple[str, ...]) -> Flags:
        """Return the mask of the models that a request lists, by any of their names or a pattern.

        All for a list that holds a mode; names of no model are for the upstream to refuse.
        """
        models, fits = self._selector.models, np.zeros(len(self._selector.models), dtype=np.bool_)
        for name in map(self._policy.resolve, names):
            if name in MODES:
                return np.ones_like(fits)
            if is_pattern(name):
                fits |= np.array([fnmatchcase(one.id, name) for one in models], dtype=np.bool_)
            elif (index := self._find(name)) is not None:
                fits[index] = True
        return fits

    def _kept(self, inputs: DecisionInputs) -> list[int]:
        """Return the models that quality never excludes: the preferred, and the session's own."""
        session = inputs.session and self._selector.index.get(inputs.session.model)
        return [*self._preferred, *([] if session is None else [session])]

    def _find(self, name: str) -> int | None:
        """Return the index of a model by any of its names; None if the catalogue has none such."""
        try:
            return self._selector.index.get(self._selector.catalogue.find_or_newest(name).id)
        except UnknownModel:
            return None

    def _by_scope(self, selection: Selection, scope: tuple[str, ...] | None) -> Selection:
        """Return the selection without the models outside a client key's scope; None: no limits."""
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
        upper = self._selector.by_model(selection.counts.upper)
        tokens = int(upper[eligible].min()) + reserve
        return ContextTooLong(
            # Claude Code knows by this wording that compaction helps
            f"prompt is too long: {tokens} tokens > {window} maximum of every able model, "
            f"{reserve} for the reply included. Shorten the request or ask for a shorter reply."
        )


def _no_candidate_message(selection: Selection, target: str) -> str:
    """Return why no model is left, with the most common reasons."""
    counts = Counter(one.reason for one in Exclusions(selection))
    common = "; ".join(f"{count}: {reason}" for reason, count in counts.most_common(3))
    return f"No model can take this request as {target!r}. {common}. Name a model, or ask for less."


def _unmet_message(check: Requirement, count: int, target: str, applied: list[str]) -> str:
    """Return which constraint no model meets, and what can be changed.

    Args:
        check: the constraint.
        count: the number of models that were left before it.
        target: what was asked for.
        applied: the names of the constraints that those models meet.
    """
    within = f", within {', '.join(applied)}" if applied else ""
    return (
        f"{check.name}: of {count} models that can take this request as {target!r}{within}, each "
        f"is left out: {check.reason}. Change or leave out {check.name}, or name a model. "
        "`devflow models refresh` fetches which providers serve which model."
    )
