"""Selects the models that can take a request, over the whole catalogue at once, with reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import overload

import numpy as np
from devflow_core.routing import Exclusion
from devflow_core.tokens import TokenizerFamily, family_of
from numpy.typing import NDArray

from devflow_routing.capabilities import Needs, describe_capabilities
from devflow_routing.catalogue import Catalogue
from devflow_routing.model_config import ModelConfig

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]

# stands for a missing limit in arrays of limits
_NO_LIMIT = 1 << 60
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
        self._expiry_days = np.array(
            [
                model.expires_on.toordinal() if model.expires_on else _NO_LIMIT
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

    def estimate_input_tokens(self, needs: Needs) -> tuple[Floats, Floats]:
        """Return the estimated input tokens for each model, and the upper end of their error."""
        if needs.input_tokens is not None:
            known = np.full(len(self.models), float(needs.input_tokens))
            return known, known
        likely = [needs.size.estimate_tokens(one) for one in self._families]
        upper = [needs.size.upper_input_tokens(one) for one in self._families]
        by_family = np.array((likely, upper), dtype=np.float64)
        return by_family[0].take(self._family_index), by_family[1].take(self._family_index)

    def select(self, needs: Needs, *, today: date, allow_free: bool = False) -> Selection:
        """Return the models that may be chosen for a request with these needs that names none.

        Args:
            needs: what the request needs.
            today: the day, for models that expire.
            allow_free: whether `:free` variants may be chosen; they share a daily limit, and some
                keep prompts.
        """
        input_tokens, upper_tokens = self.estimate_input_tokens(needs)
        wanted = int(needs.capabilities)
        reserve = needs.max_output_tokens or REPLY_RESERVE_TOKENS
        day = today.toordinal()
        requirements = (
            ("lacks what the request needs", (self._capabilities & wanted) == wanted),
            ("expired", self._expiry_days > day),
            ("its window is too small", upper_tokens + reserve <= self.windows),
            ("its replies are too short", self.max_output_tokens >= reserve),
        )
        eligible = self.may_be_chosen
        for _kind, mask in requirements:
            eligible = eligible & mask
        selection = Selection(
            selector=self,
            needs=needs,
            input_tokens=input_tokens,
            upper_tokens=upper_tokens,
            eligible=eligible,
            day_ordinal=day,
            requirements=requirements,
        )
        return selection if allow_free else selection.with_filter(_FREE, ~self._is_free)

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
        if selection.upper_tokens[index] + reserve > self.windows[index]:
            return (
                f"about {selection.upper_tokens[index]:.0f} input tokens and {reserve} for "
                f"the reply do not fit its window of {model.context_length}"
            )
        if self.max_output_tokens[index] < reserve:
            return f"writes {model.max_output_tokens} tokens at most, {reserve} are asked for"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Selection:
    """The eligible models, as an array in the order of the selector's models."""

    selector: ModelSelector
    needs: Needs
    input_tokens: Floats
    """The estimated input tokens of the request for each model."""
    upper_tokens: Floats
    """The upper end of the error of `input_tokens`, for each model; few requests exceed it."""
    eligible: Flags
    day_ordinal: int
    """The day of the decision, as `date.toordinal` counts days."""
    requirements: tuple[tuple[str, Flags], ...]
    """What the request requires: the kind of reason, and the mask of the models that meet it."""
    filters: tuple[tuple[str, Flags], ...] = ()
    """Further reasons for exclusion, each with the mask of the models it keeps."""

    def with_filter(self, reason: str, mask: Flags) -> Selection:
        """Return the selection narrowed to `mask`; the other models are excluded for `reason`."""
        filters = (*self.filters, (reason, mask))
        return replace(self, eligible=self.eligible & mask, filters=filters)

    def count_exclusions(self) -> dict[str, int]:
        """Return the number of excluded models by the kind of reason.

        A model counts for the first reason that excludes it. No reason is put into words, so that
        this is quick.
        """
        counts, left = dict(self.selector.never_chosen), self.selector.may_be_chosen
        for reason, mask in (*self.requirements, *self.filters):
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

    __slots__ = ("_left_out", "_selection")

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._left_out: Ints = np.flatnonzero(~selection.eligible)

    @overload
    def __getitem__(self, index: int) -> Exclusion: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Exclusion, ...]: ...
    def __getitem__(self, index: int | slice) -> Exclusion | tuple[Exclusion, ...]:
        return tuple(self)[index]

    def __iter__(self) -> Iterator[Exclusion]:
        indices: list[int] = self._left_out.tolist()
        for index in indices:
            model = self._selection.selector.models[index].id
            yield Exclusion(model=model, reason=self._selection.explain_exclusion(index))

    def __len__(self) -> int:
        return len(self._left_out)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"<{len(self)} models left out>"


def _limit_array(values: list[int | None]) -> Ints:
    return np.array([_NO_LIMIT if one is None else one for one in values], dtype=np.int64)


def _group_families(models: tuple[ModelConfig, ...]) -> tuple[tuple[TokenizerFamily, ...], Ints]:
    found: dict[TokenizerFamily, int] = {}
    indices = [
        found.setdefault(family_of(model.id, model.tokenizer), len(found)) for model in models
    ]
    return tuple(found), np.array(indices, dtype=np.int64)


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
