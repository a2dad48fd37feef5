"""Selects the models that can take a request, over the whole catalogue at once, with reasons."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import overload

import numpy as np
from devflow_core.routing import Exclusion
from devflow_core.tokens import MAX_FRAMING_TOKENS, TokenizerFamily, family_of
from numpy.typing import NDArray

from devflow_routing.capabilities import Needs, describe_capabilities
from devflow_routing.catalogue import Catalogue
from devflow_routing.model_config import ModelConfig

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]

NO_LIMIT = 1 << 60
"""Stands for a limit that there is none of."""
REPLY_RESERVE_TOKENS = 1_024
"""Tokens that are left for the reply if the caller set no limit."""
_SPECIAL_PURPOSE = (
    "guard",
    "safety",
    "safeguard",
    "morph-v3",
    "relace-",
    "ui-tars",
    "lyria",
    "deep-research",
)
"""Words in the ids of special-purpose models; they are used only when asked for by name."""


_MAX_KINDS = 64
"""The most kinds of requests whose eligible models are kept; they fit into 200 kB."""
_FREE = "free variants share a daily limit; ask for it by name, or set allow_free"


class ModelSelector:
    """Decides which models are eligible; built once for each catalogue.

    All arrays are in the order of `models`.

    Args:
        catalogue: the models.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.models: tuple[ModelConfig, ...] = catalogue.models
        self.index = {model.id: index for index, model in enumerate(self.models)}
        self._capabilities = np.array(
            [int(model.capabilities) for model in self.models], dtype=np.int64
        )
        self.windows = _limit_array([model.context_length for model in self.models])
        self.max_output_tokens = _limit_array([model.max_output_tokens for model in self.models])
        self._families, self._family_index = _group_families(self.models)
        self.families: list[int] = self._family_index.tolist()
        """The place of each model's family of tokenizers in counts of tokens."""
        self._expiry_days = np.array(
            [
                model.expires_on.toordinal() if model.expires_on else NO_LIMIT
                for model in self.models
            ]
        )
        self._ineligible_reasons = tuple(_ineligible_reason(model) for model in self.models)
        self.may_be_chosen: Flags = np.array(
            [not reason for reason in self._ineligible_reasons], dtype=np.bool_
        )
        self.never_chosen = Counter(reason for reason in self._ineligible_reasons if reason)
        """The number of models that are never chosen automatically, by reason."""
        self._is_free = np.array([model.variant == "free" for model in self.models], np.bool_)
        self._family_windows, self._window_ranks = _rank_windows(
            self.windows, self._family_index, len(self._families)
        )
        # by capabilities, reserve, day, free variants, and the windows of each family that are
        # too small
        self._find_cached = lru_cache(maxsize=_MAX_KINDS)(self._find_fitting)

    def estimate_input_tokens(self, needs: Needs) -> tuple[Floats, Floats]:
        """Return the estimated input tokens for each model, and the upper end of their error."""
        counts = self._count_tokens(needs)
        return self.by_model(counts.likely), self.by_model(counts.upper)

    def by_model(self, by_family: Sequence[int]) -> Floats:
        """Return for each model what is known of its tokenizer's family."""
        return np.array(by_family, dtype=np.float64).take(self._family_index)

    def select(self, needs: Needs, *, today: date, allow_free: bool = False) -> Selection:
        """Return the models that may be chosen for a request with these needs that names none.

        What requests have in common is found once: most of them add only their own lengths, and
        what those mean for the windows.

        Args:
            needs: what the request needs.
            today: the day, for models that expire.
            allow_free: whether `:free` variants may be chosen; they share a daily limit, and some
                keep prompts.
        """
        counts = self._count_tokens(needs)
        reserve = needs.max_output_tokens or REPLY_RESERVE_TOKENS
        too_small = tuple(
            [
                bisect_left(windows, tokens + reserve)
                for windows, tokens in zip(self._family_windows, counts.upper, strict=True)
            ]
        )
        day = today.toordinal()
        fitting = self._find_cached(int(needs.capabilities), reserve, day, allow_free, too_small)
        return Selection(
            selector=self,
            needs=needs,
            counts=counts,
            input_tokens=self.by_model(counts.likely),
            eligible=fitting.eligible,
            day_ordinal=day,
            fitting=fitting,
            filters=fitting.filters,
        )

    def _count_tokens(self, needs: Needs) -> TokenCounts:
        if needs.input_tokens is not None:
            known = [needs.input_tokens] * len(self._families)
            return TokenCounts(known, known, needs.input_tokens)
        ranges = list(map(needs.size.token_range, self._families))
        likely = [one for one, _ in ranges]
        return TokenCounts(
            likely, [one + MAX_FRAMING_TOKENS for _, one in ranges], max(likely, default=0)
        )

    def _find_fitting(
        self, wanted: int, reserve: int, day: int, allow_free: bool, too_small: tuple[int, ...]
    ) -> Fitting:
        """Return the models that fit requests that are alike; arguments as of `_find_cached`."""
        counts = np.array(too_small, dtype=np.int64).take(self._family_index)
        requirements = (
            ("lacks what the request needs", (self._capabilities & wanted) == wanted),
            ("expired", self._expiry_days > day),
            ("its window is too small", self._window_ranks >= counts),
            ("its replies are too short", self.max_output_tokens >= reserve),
        )
        eligible = self.may_be_chosen
        for _kind, mask in requirements:
            eligible = eligible & mask
        filters = () if allow_free else ((_FREE, ~self._is_free),)
        for _kind, mask in filters:
            eligible = eligible & mask
        return Fitting(eligible, requirements, filters)

    def explain_exclusion(self, index: int, selection: Selection) -> str:
        """Return why the selector itself excludes the model at this index; empty if it does not.

        `Selection.explain_exclusion` considers the filters as well.
        """
        model, needs = self.models[index], selection.needs
        missing = int(needs.capabilities) & ~int(self._capabilities[index])
        reserve = needs.max_output_tokens or REPLY_RESERVE_TOKENS
        if self._ineligible_reasons[index]:
            return self._ineligible_reasons[index]
        if missing:
            return f"lacks {describe_capabilities(missing)}"
        if self._expiry_days[index] <= selection.day_ordinal:
            return f"expired on {model.expires_on}"
        if selection.upper_tokens(index) + reserve > self.windows[index]:
            return (
                f"about {selection.upper_tokens(index)} input tokens and {reserve} for "
                f"the reply do not fit its window of {model.context_length}"
            )
        if self.max_output_tokens[index] < reserve:
            return f"writes {model.max_output_tokens} tokens at most, {reserve} are asked for"
        return ""


Filters = tuple[tuple[str, Flags], ...]
"""Reasons for exclusion, each with the mask of the models that it keeps."""


@dataclass(frozen=True, slots=True, eq=False)
class TokenCounts:
    """The input tokens of a request by family of tokenizers."""

    likely: list[int]
    upper: list[int]
    """The upper end of the error."""
    most: int
    """The highest of the likely counts."""


@dataclass(frozen=True, slots=True, eq=False)
class Fitting:
    """What requests with the same needs have in common."""

    eligible: Flags
    """Which models fit."""
    requirements: Filters
    """What such requests require: the kind of reason, and the mask of the models that meet it."""
    filters: Filters


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Selection:
    """The eligible models, as an array in the order of the selector's models."""

    selector: ModelSelector
    needs: Needs
    counts: TokenCounts
    input_tokens: Floats
    """The estimated input tokens of the request for each model."""
    eligible: Flags
    day_ordinal: int
    """The day of the decision, as `date.toordinal` counts days."""
    fitting: Fitting
    """What the request has in common with others."""
    filters: Filters = ()
    """Further reasons for exclusion, each with the mask of the models it keeps."""

    def upper_tokens(self, index: int) -> int:
        """Return the upper end of the error of a model's input tokens; few requests exceed it."""
        return self.counts.upper[self.selector.families[index]]

    def with_filter(self, reason: str, mask: Flags) -> Selection:
        """Return the selection narrowed to `mask`; the other models are excluded for `reason`."""
        return self.with_filters((*self.filters, (reason, mask)), self.eligible & mask)

    def with_filters(self, filters: Filters, eligible: Flags) -> Selection:
        """Return the selection with these filters in the place of its own, and what they leave."""
        return Selection(
            selector=self.selector,
            needs=self.needs,
            counts=self.counts,
            input_tokens=self.input_tokens,
            eligible=eligible,
            day_ordinal=self.day_ordinal,
            fitting=self.fitting,
            filters=filters,
        )

    def count_exclusions(self) -> dict[str, int]:
        """Return the number of excluded models by the kind of reason.

        A model counts for the first reason that excludes it. No reason is put into words, so that
        this is quick.
        """
        counts, left = dict(self.selector.never_chosen), self.selector.may_be_chosen
        for reason, mask in (*self.fitting.requirements, *self.filters):
            narrowed = left & mask
            if lost := int(np.count_nonzero(left)) - int(np.count_nonzero(narrowed)):
                counts[reason] = lost
            left = narrowed
        return counts

    def explain_exclusion(self, index: int) -> str:
        """Return why the model at this index is excluded; empty if it is not."""
        own = self.selector.explain_exclusion(index, self)
        return own or next((reason for reason, mask in self.filters if not mask[index]), "")


class Exclusions(Sequence[Exclusion]):
    """The excluded models with their reasons, which are put into words only when read."""

    __slots__ = ("_count", "_selection")

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._count = len(selection.eligible) - int(np.count_nonzero(selection.eligible))

    @overload
    def __getitem__(self, index: int) -> Exclusion: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Exclusion, ...]: ...
    def __getitem__(self, index: int | slice) -> Exclusion | tuple[Exclusion, ...]:
        return tuple(self)[index]

    def __iter__(self) -> Iterator[Exclusion]:
        indices: list[int] = np.flatnonzero(~self._selection.eligible).tolist()
        for index in indices:
            model = self._selection.selector.models[index].id
            yield Exclusion(model=model, reason=self._selection.explain_exclusion(index))

    def __len__(self) -> int:
        return self._count

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"<{len(self)} models left out>"


def _limit_array(values: list[int | None]) -> Ints:
    return np.array([NO_LIMIT if one is None else one for one in values], dtype=np.int64)


def _group_families(models: tuple[ModelConfig, ...]) -> tuple[tuple[TokenizerFamily, ...], Ints]:
    found: dict[TokenizerFamily, int] = {}
    indices = [
        found.setdefault(family_of(model.id, model.tokenizer), len(found)) for model in models
    ]
    return tuple(found), np.array(indices, dtype=np.int64)


def _rank_windows(windows: Ints, families: Ints, count: int) -> tuple[tuple[list[int], ...], Ints]:
    """Return the windows of each family in ascending order, and each model's place among them."""
    ranks = np.empty(len(windows), dtype=np.int64)
    ordered: list[list[int]] = []
    for family in range(count):
        own = families == family
        known = np.unique(windows[own])
        ranks[own] = np.searchsorted(known, windows[own])
        ordered.append(known.tolist())
    return tuple(ordered), ranks


def _ineligible_reason(model: ModelConfig) -> str:
    """Return why a model is never chosen automatically; empty if it may be."""
    reasons = {
        "routes to a model that is unknown beforehand": model.is_router,
        f"another name of {model.alias_of}": model.alias_of is not None,
        "answers within a day, not at once": model.variant == "batch",
        "its price is unknown": model.price is None,
        "its window is unknown": model.context_length is None,
        "it does not write text alone": not model.writes_text,
        "made for a special purpose": any(word in model.id for word in _SPECIAL_PURPOSE),
    }
    return next((reason for reason, applies in reasons.items() if applies), "")
