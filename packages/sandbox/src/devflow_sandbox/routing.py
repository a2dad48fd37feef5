"""Which providers are tried for a request, in which order, and why the others are not."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import cast

from devflow_sandbox.api_error import context_too_long, invalid, no_endpoints
from devflow_sandbox.catalogue.models import Model, Named
from devflow_sandbox.catalogue.providers import Provider
from devflow_sandbox.message import JsonObject
from devflow_sandbox.parsed_request import Ask, Reader

STICKY_S = 600.0
"""A conversation stays with its provider for ten minutes without a call."""
_PER_MILLION = Decimal(1_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One attempt: a model at a provider."""

    named: Named
    provider: Provider


def check_fit(named: Named, ask: Ask) -> None:
    """Whether the model can take the request at all.

    Raises:
        Refusal: 404 for tools that it has not, 400 for a prompt that is too long or reasoning
            that cannot be switched off.
    """
    model = named.model
    if ask.tools and "tools" not in model.parameters:
        raise no_endpoints(model.id, "that support tool use")
    if ask.provider.get("require_parameters") is True:
        _check_parameters(model, ask)
    thinking = ask.reasoning
    listed: JsonObject = model.row.get("reasoning") or {}
    if thinking is not None and not thinking.is_on and listed.get("mandatory"):
        raise invalid("Reasoning is mandatory for this endpoint and cannot be disabled.")
    output = ask.max_tokens or 0
    if ask.prompt_tokens + output > model.context_length:
        raise context_too_long(model.context_length, ask.prompt_tokens + output, output)


def _check_parameters(model: Model, ask: Ask) -> None:
    needs = {
        "response_format": ask.schema is not None or ask.wants_json,
        "reasoning": ask.reasoning is not None and ask.reasoning.is_on,
    }
    needs |= {name: True for name in ("seed", "top_k", "logprobs", "stop") if name in ask.body}
    missing = sorted(name for name, is_needed in needs.items() if is_needed)
    if not set(missing) <= model.parameters:
        raise no_endpoints(model.id, "that can handle the requested parameters")


def targets(named: Named, ask: Ask, *, byok: frozenset[str], sticky: str | None) -> list[Target]:
    """The providers of one model in the order in which they are tried.

    Keys of one's own come first whatever `order` says, then the conversation's provider.

    Raises:
        Refusal: 404 when preferences leave nobody; 400 when they are malformed.
    """
    wishes = _Wishes(ask)
    _check_price(named.model, ask)
    allowed = [one for one in named.model.providers if wishes.allow(one)]
    if not allowed:
        raise no_endpoints(named.model.id, "matching your provider preferences")
    ordered = wishes.ordered(allowed)
    ranks = {one.name: place for place, one in enumerate(ordered)}
    ordered.sort(key=lambda one: (one.slug not in byok, one.slug != sticky, ranks[one.name]))
    if ask.provider.get("allow_fallbacks") is False:
        ordered = ordered[:1]
    return [Target(named=named, provider=one) for one in ordered]


class _Wishes:
    """The `provider` object of a request."""

    def __init__(self, ask: Ask) -> None:
        reader = Reader(ask.provider, "provider.")
        self._only = reader.texts("only")
        self._ignore = reader.texts("ignore")
        self._order = reader.texts("order")
        self._fallbacks = ask.provider.get("allow_fallbacks") is not False
        collection = reader.text("data_collection")
        if collection not in (None, "allow", "deny"):
            raise invalid("Invalid input: provider.data_collection: expected 'allow' or 'deny'")

    def allow(self, one: Provider) -> bool:
        if self._only and not _named(one, self._only):
            return False
        if self._order and not self._fallbacks and not _named(one, self._order):
            return False
        return not _named(one, self._ignore)

    def ordered(self, providers: list[Provider]) -> list[Provider]:
        def place(one: Provider) -> int:
            for index, slug in enumerate(self._order):
                if _named(one, (slug,)):
                    return index
            return len(self._order)

        return sorted(providers, key=place)


def _named(one: Provider, slugs: tuple[str, ...]) -> bool:
    """A base slug stands for all its variants (`google-vertex` ⊃ `google-vertex/us-east5`)."""
    names = {one.slug, one.name.lower()}
    return any(slug.lower() in names or slug.lower().split("/")[0] in names for slug in slugs)


def _check_price(model: Model, ask: Ask) -> None:
    """`provider.max_price`, in USD per million tokens."""
    limits = Reader(ask.provider, "provider.").object("max_price")
    prices = {"prompt": model.prices.prompt, "completion": model.prices.completion}
    for kind, price in prices.items():
        limit = limits.get(kind)
        if limit is None:
            continue
        try:
            most = Decimal(str(cast("object", limit)))
        except InvalidOperation as error:
            raise invalid(f"Invalid input: provider.max_price.{kind}: no number") from error
        if price * _PER_MILLION > most:
            raise no_endpoints(model.id, "that meet your max_price")
