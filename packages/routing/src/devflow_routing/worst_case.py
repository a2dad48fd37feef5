"""Computes the most that one request can cost, over everything that may be billed for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property, lru_cache
from typing import Any

from devflow_core.billable import Billable, NamedModel, Searches
from devflow_core.errors import UnknownModel
from devflow_core.routing import Alternate
from devflow_core.tokens import family_of

from devflow_routing.capabilities import Capability, Needs
from devflow_routing.catalogue import Catalogue
from devflow_routing.model_config import ModelConfig

SPEED_FACTORS: Mapping[str, Decimal] = {
    "standard": Decimal(1),
    "priority": Decimal("2.5"),
    "ultrafast": Decimal(6),
    "fast": Decimal(6),
}
"""Upper bounds relative to the listed token prices.

Priority costs 1.7 to 2.5 times in OpenAI's list of 2026, ultrafast six times in October 2026, and
Anthropic's fast mode 2 to 6 times by the `-fast` models of the catalogue.
"""
MAX_SEARCH_USD = Decimal("0.02")
"""The most that one search can cost, at any engine and mode, with ten results.

The most expensive is Exa's deep-reasoning at 0.015 (the router's documentation of 2026-08-22); the
earlier price list said 0.02.
"""
RESULTS_INCLUDED = 10
"""The results of one search that `MAX_SEARCH_USD` covers."""
RESULT_USD = Decimal("0.004")
"""The most that each further result costs: 0.001 today, 0.004 in the earlier price list."""
MAX_BUILT_IN_SEARCH_USD = Decimal("0.05")
"""The most that the search of a model that always searches can cost, per request.

OpenAI's search previews cost up to 50 USD per thousand, Perplexity's up to 18.
"""
MAX_PDF_PAGES = 1_000
"""The most pages of one file; the reader refuses more (Mistral OCR's limits)."""
PDF_PAGE_USD = Decimal("0.0022")
"""The price of a page with Mistral OCR: 2 USD per thousand, 10 % more in the US region."""
MIN_TURN_TOKENS = 1_000
"""The tokens that a turn with a tool call may write, even if the reply itself may be shorter."""
DEFAULT_OUTPUT_TOKENS = 32_000
"""The tokens reserved for a reply that neither caller nor catalogue nor window limits.

Under a ceiling, `auto` also asks for no more than this where the caller set no limit.
"""


_AUDIO = int(Capability.AUDIO)


@dataclass(frozen=True, slots=True)
class WorstCase:
    """An amount in USD, or the reason why it is unknown."""

    usd: Decimal | None
    reason: str = ""
    """Why the amount is unknown; empty if it is known."""
    first_fees_usd: Decimal = Decimal(0)
    """The part of it that is billed before the model is asked."""


@dataclass(frozen=True, slots=True)
class TokenBounds:
    """The most tokens that go in and come out."""

    input: int
    output: int


def token_bounds(model: ModelConfig, needs: Needs, *, has_ceiling: bool) -> TokenBounds:
    """Return the most tokens that can go in and come out at this model.

    `has_ceiling` says whether the request limits its cost: a reply that neither request nor model
    limits then gets at most `DEFAULT_OUTPUT_TOKENS`.
    """
    tokens = needs.input_tokens
    if tokens is None:
        tokens = needs.size.upper_input_tokens(family_of(model.id, model.tokenizer))
    limits = [one for one in (needs.max_output_tokens, model.max_output_tokens) if one]
    window = model.context_length
    if not limits and (has_ceiling or window is None):
        limits = [DEFAULT_OUTPUT_TOKENS]
    if window is not None:
        limits.append(max(1, window - min(tokens, window - 1)))
    return TokenBounds(tokens, min(limits))


class WorstCases:
    """Computes the worst case of any model for one request.

    Args:
        catalogue: the prices.
        needs: what the request needs.
        billable: what it may be billed for besides tokens.
    """

    def __init__(self, catalogue: Catalogue, needs: Needs, billable: Billable) -> None:
        self._catalogue = catalogue
        self._needs = needs
        self._billable = billable
        self._is_plain = billable.is_plain and not needs.files and not needs.is_prompt_open
        self._alternates_first_fees_usd = Decimal(0)
        self._has_audio = bool(int(needs.capabilities) & _AUDIO)

    def of_model(self, model: ModelConfig, bounds: TokenBounds) -> WorstCase:
        """Return the most that the request may cost if this model itself answers."""
        if model.price is None:
            return WorstCase(None, f"the price of {model.id} is not known")
        if self._is_plain and not _searches_by_itself(model.id):
            return WorstCase(self._turn_usd(model, bounds.input, bounds.output))
        doubt = self._billable.first_doubt("cost")
        if doubt is not None:
            return WorstCase(None, doubt.text)
        return self._with_extras(model, bounds)

    def of_call(self, model: ModelConfig, bounds: TokenBounds) -> WorstCase:
        """Return the most that the request may cost if this model is asked, whichever answers."""
        own = self.of_model(model, bounds)
        if own.usd is None or not self._billable.alternates:
            return own
        alternates, reason = self._alternates
        if reason:
            return WorstCase(None, reason)
        amounts = [one.worst_case_usd for one in alternates if one.worst_case_usd is not None]
        first = max(own.first_fees_usd, self._alternates_first_fees_usd)
        return WorstCase(max(own.usd, *amounts), first_fees_usd=first)

    def candidate_terms(self, model: ModelConfig, bounds: TokenBounds) -> dict[str, Any]:
        """Return the fields of a candidate that state its cost and who may answer in its place."""
        is_plain = self._is_plain and not _searches_by_itself(model.id)
        if is_plain and model.alias_of is None and not model.is_router:
            worst = self.of_model(model, bounds)
            return {
                "worst_case_usd": worst.usd,
                "unpriced_reason": worst.reason,
                "slug": model.canonical_slug,
            }
        own, call = self.of_model(model, bounds), self.of_call(model, bounds)
        alternates = self._alternates[0] if self._billable.alternates else ()
        target = self._catalogue.get(model.alias_of) if model.alias_of else None
        if target is not None:
            # replies name the target of an alias; it costs what is listed for the alias
            alternates = (_as_alternate(target.id, target, own.usd), *alternates)
        return {
            "worst_case_usd": call.usd,
            "own_worst_case_usd": own.usd,
            "unpriced_reason": call.reason,
            "slug": model.canonical_slug,
            "alternates": alternates,
            "may_be_any": model.is_router or self._billable.may_be_any,
            "has_fees": not is_plain,
            "first_fees_usd": call.first_fees_usd,
        }

    @cached_property
    def _alternates(self) -> tuple[tuple[Alternate, ...], str]:
        """The alternates, and why the worst case of one is unknown ("" if all are known)."""
        found, reasons = list[Alternate](), list[str]()
        for one in self._billable.alternates:
            model = self._find(one)
            if model is None:
                found.append(Alternate(model=one.model))
                reasons.append(f"{one.path}: the price of {one.model} is not known")
                continue
            # the limit set for the requested model may exceed this one's
            bounds = token_bounds(model, self._needs, has_ceiling=False)
            worst = self.of_model(model, bounds)
            if worst.usd is None:
                prefix = "" if worst.reason.startswith(one.path) else f"{one.path}: "
                reasons.append(prefix + worst.reason)
            found.append(_as_alternate(one.model, model, worst.usd))
            first = max(self._alternates_first_fees_usd, worst.first_fees_usd)
            self._alternates_first_fees_usd = first
        return tuple(found), reasons[0] if reasons else ""

    def _find(self, named: NamedModel) -> ModelConfig | None:
        try:
            return self._catalogue.find(named.model)
        except UnknownModel:
            return None

    def _turn_usd(self, model: ModelConfig, input_tokens: int, output_tokens: int) -> Decimal:
        assert model.price is not None  # noqa: S101 - looked at before
        return model.price.worst_case_usd(input_tokens, output_tokens, has_audio=self._has_audio)

    def _with_extras(self, model: ModelConfig, bounds: TokenBounds) -> WorstCase:
        billable = self._billable
        searches = (*billable.searches, *_searches_by_name(model))
        turns = 1 + billable.extra_turns
        turns += sum(one.max_count for one in searches if not one.is_once)
        fees, first_fees = Decimal(0), self._file_fees(model)
        for one in searches:
            reason = _unbounded_reason(one, model)
            if reason:
                return WorstCase(None, reason)
            search_usd = one.max_count * _search_usd(one, model)
            fees += search_usd
            first_fees += search_usd if one.is_once else 0
        if _searches_always(model.id):
            if "deep-research" in model.id:
                return WorstCase(None, f"{model.id} searches as often as it likes")
            price_usd = model.price.web_search if model.price else None
            fees += max(price_usd or Decimal(0), MAX_BUILT_IN_SEARCH_USD)
        tokens = self._input_bound(model, bounds, is_growing=turns > 1 or bool(searches))
        if tokens is None:
            return WorstCase(None, f"the window of {model.id} is not known")
        output = self._output_bound(model, bounds, turns)
        usd = self._turn_usd(model, tokens, output) * turns * SPEED_FACTORS[billable.speed]
        usd = (usd + fees) * billable.replies + self._file_fees(model)
        return WorstCase(usd, first_fees_usd=first_fees)

    def _input_bound(
        self, model: ModelConfig, bounds: TokenBounds, *, is_growing: bool
    ) -> int | None:
        """Return the input bound: the whole window, if more than the request itself may come in.

        None if the window is needed and unknown.
        """
        if is_growing or self._needs.is_prompt_open:
            return model.context_length
        tokens = bounds.input + self._needs.max_file_tokens
        return tokens if model.context_length is None else min(tokens, model.context_length)

    def _output_bound(self, model: ModelConfig, bounds: TokenBounds, turns: int) -> int:
        """Return the most tokens that one of several turns can write.

        A turn with a tool call may write more than the reply itself may have. Images and audio are
        not cut off where text would be.
        """
        output = bounds.output if turns == 1 else max(bounds.output, MIN_TURN_TOKENS)
        if self._billable.output_kinds:
            output = max(output, model.max_output_tokens or model.context_length or output)
        return output

    def _file_fees(self, model: ModelConfig) -> Decimal:
        """Return the fee for files that are not read by the model itself."""
        engine = self._billable.pdf_engine
        is_native = bool(model.capabilities & Capability.FILES)
        if engine == "free" or (not engine and is_native):
            return Decimal(0)
        return self._needs.files * MAX_PDF_PAGES * PDF_PAGE_USD


def _as_alternate(name: str, model: ModelConfig, worst_case_usd: Decimal | None) -> Alternate:
    return Alternate(
        model=name,
        slug=model.canonical_slug,
        price=model.price,
        worst_case_usd=worst_case_usd,
    )


@lru_cache(maxsize=4096)
def _searches_by_itself(model: str) -> bool:
    """Return whether a model's id alone makes it search the web."""
    return _searches_always(model) or "online" in model.split(":")[1:]


def _searches_always(model: str) -> bool:
    """Return whether a model always searches, whatever the request says."""
    return model.startswith("perplexity/") or "search" in model


def _searches_by_name(model: ModelConfig) -> tuple[Searches, ...]:
    """Return the search that the suffix `:online` stands for: the plugin `web` by another name."""
    if "online" not in model.id.split(":")[1:]:
        return ()
    return (Searches(path="model", max_count=1, max_results=5, may_be_native=True, is_once=True),)


def _unbounded_reason(searches: Searches, model: ModelConfig) -> str:
    """Return why the number of searches is unknown; empty if it is bounded."""
    is_native = searches.may_be_native and model.price and model.price.web_search is not None
    if not is_native or (model.author == "anthropic" and not searches.is_once):
        return ""
    return (
        f"{searches.path}: the provider of {model.id} searches by itself, as often as it likes; "
        "set the engine to exa"
    )


def _search_usd(searches: Searches, model: ModelConfig) -> Decimal:
    further = max(0, searches.max_results - RESULTS_INCLUDED)
    own_usd = model.price.web_search if model.price and searches.may_be_native else None
    return max(own_usd or Decimal(0), MAX_SEARCH_USD + further * RESULT_USD)
