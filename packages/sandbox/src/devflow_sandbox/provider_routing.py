"""Decides which providers are tried for a request, and in which order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import cast

from devflow_sandbox.api_error import context_too_long, invalid_request, no_endpoints
from devflow_sandbox.catalogue.models import Model, ResolvedModel
from devflow_sandbox.catalogue.providers import Provider
from devflow_sandbox.catalogue.services import TIER_FACTOR, Tier
from devflow_sandbox.extras.order import Order
from devflow_sandbox.message import JsonObject
from devflow_sandbox.parsed_request import BodyReader, ParsedRequest

STICKY_S = 600.0
"""Seconds without a call until a conversation may leave its provider."""
_PER_MILLION = Decimal(1_000_000)
_SUFFIX_TIERS: dict[str, Tier] = {"nitro": "priority", "floor": "flex"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderTarget:
    """One attempt: a model at a provider."""

    resolved: ResolvedModel
    provider: Provider
    tier: Tier = "default"
    """The service tier requested from the provider."""

    @property
    def slugs(self) -> tuple[str, ...]:
        """The names that preferences and fault rules may match."""
        names = (self.provider.slug, self.provider.name)
        return names if self.tier == "default" else (*names, f"{self.provider.slug}/{self.tier}")


def check_fit(resolved: ResolvedModel, request: ParsedRequest) -> None:
    """Check that the model can take the request at all.

    Raises:
        ApiError: 404 for tools, or parameters under `require_parameters`, that it does not support;
            400 for a prompt that is too long, or reasoning that cannot be disabled.
    """
    model = resolved.model
    if request.tools and "tools" not in model.parameters:
        raise no_endpoints(model.id, "that support tool use")
    if request.provider.get("require_parameters") is True:
        _check_parameters(model, request)
    reasoning = request.reasoning
    supported: JsonObject = model.row.get("reasoning") or {}
    if reasoning is not None and not reasoning.is_enabled and supported.get("mandatory"):
        raise invalid_request("Reasoning is mandatory for this endpoint and cannot be disabled.")
    output = request.max_tokens or 0
    if request.prompt_tokens + output > model.context_length:
        raise context_too_long(model.context_length, request.prompt_tokens + output, output)


def _check_parameters(model: Model, request: ParsedRequest) -> None:
    needs = {
        "response_format": request.schema is not None or request.wants_json,
        "reasoning": request.reasoning is not None and request.reasoning.is_enabled,
    }
    needs |= {name: True for name in ("seed", "top_k", "logprobs", "stop") if name in request.body}
    missing = sorted(name for name, is_needed in needs.items() if is_needed)
    if not set(missing) <= model.parameters:
        raise no_endpoints(model.id, "that can handle the requested parameters")


def list_targets(
    resolved: ResolvedModel,
    request: ParsedRequest,
    order: Order,
    *,
    byok: frozenset[str],
    sticky: str | None,
) -> list[ProviderTarget]:
    """Return the providers of one model, by tier, in the order they are tried; at least one.

    The user's own keys (BYOK) come first, whatever `provider.order` says, then the conversation's
    provider.

    Args:
        resolved: the model.
        request: its `provider` object has the preferences.
        order: decides the tier.
        byok: slugs of the providers for which the account has its own keys.
        sticky: slug of the conversation's provider, if it has one.

    Raises:
        ApiError: 404 if the preferences exclude all providers; 400 if they are malformed.
    """
    preferences = _ProviderPreferences(request)
    _check_price(resolved.model, request)
    allowed = [one for one in resolved.model.providers if preferences.allows(one)]
    if not allowed:
        raise no_endpoints(resolved.model.id, "matching your provider preferences")
    ordered = preferences.order(allowed)
    ranks = {one.name: place for place, one in enumerate(ordered)}
    # False sorts before True
    ordered.sort(key=lambda one: (one.slug not in byok, one.slug != sticky, ranks[one.name]))
    targets = _open_tiers(resolved, ordered, order, preferences)
    # the first one alone, however long the list
    return targets[:1] if request.provider.get("allow_fallbacks") is False else targets


def _open_tiers(
    resolved: ResolvedModel,
    ordered: list[Provider],
    order: Order,
    preferences: _ProviderPreferences,
) -> list[ProviderTarget]:
    """Return the endpoints of the tiers the request allows ("Service Tiers", How Routing Works).

    A tier named by its provider's slug in `order`, and a priority tier, come before the default
    one. Flex stands alone, since there is no fallback to a higher price; so does a tier in `only`.
    """
    default = [ProviderTarget(resolved=resolved, provider=one) for one in ordered]
    wanted = order.tier
    if wanted == "default" and not order.is_tier_pinned:
        wanted = next(
            (_SUFFIX_TIERS[one] for one in resolved.suffixes & _SUFFIX_TIERS.keys()), wanted
        )
    tiers = {one.slug: preferences.tiers.get(one.slug, wanted) for one in ordered}
    opened = [
        replace(one, tier=tiers[one.provider.slug])
        for one in default
        if tiers[one.provider.slug] in resolved.model.tiers.intersection(one.provider.tiers)
    ]
    if not opened:
        return default
    is_alone = order.tier == "flex" or preferences.only_tiers
    return opened if is_alone else [*opened, *default]


class _ProviderPreferences:
    """The `provider` object of a request."""

    def __init__(self, request: ParsedRequest) -> None:
        reader = BodyReader(request.provider, "provider.")
        self._only = reader.texts("only")
        self._ignore = reader.texts("ignore")
        self._order = reader.texts("order")
        self._quantizations = reader.texts("quantizations")
        self._keeps_nothing = request.provider.get("zdr") is True
        self.only_tiers = bool(self._only) and all(
            one.partition("/")[2] in TIER_FACTOR for one in self._only
        )
        self.tiers: dict[str, Tier] = {}
        for slug, _, tier in (one.partition("/") for one in (*self._only, *self._order)):
            if tier in TIER_FACTOR:
                self.tiers[slug] = tier
        self._fallbacks = request.provider.get("allow_fallbacks") is not False
        collection = reader.text("data_collection")
        if collection not in (None, "allow", "deny"):
            raise invalid_request(
                "Invalid input: provider.data_collection: expected 'allow' or 'deny'"
            )

    def allows(self, one: Provider) -> bool:
        if self._only and not _matches_slug(one, self._only):
            return False
        if self._order and not self._fallbacks and not _matches_slug(one, self._order):
            return False
        if self._quantizations and one.quantization not in self._quantizations:
            return False
        if self._keeps_nothing and not one.keeps_nothing:
            return False
        return not _matches_slug(one, self._ignore)

    def order(self, providers: list[Provider]) -> list[Provider]:
        def place(one: Provider) -> int:
            for index, slug in enumerate(self._order):
                if _matches_slug(one, (slug,)):
                    return index
            return len(self._order)

        return sorted(providers, key=place)


def _matches_slug(one: Provider, slugs: tuple[str, ...]) -> bool:
    """Return whether a slug names the provider; one with a variant (`x/fp8`) counts as its base."""
    names = {one.slug, one.name.lower()}
    return any(slug.lower() in names or slug.lower().split("/")[0] in names for slug in slugs)


def _check_price(model: Model, request: ParsedRequest) -> None:
    """Check `provider.max_price`, in USD per million tokens."""
    limits = BodyReader(request.provider, "provider.").object("max_price")
    prices = {"prompt": model.prices.prompt, "completion": model.prices.completion}
    for kind, price in prices.items():
        limit = limits.get(kind)
        if limit is None:
            continue
        try:
            max_price = Decimal(str(cast("object", limit)))
        except InvalidOperation as error:
            raise invalid_request(f"Invalid input: provider.max_price.{kind}: no number") from error
        if price * _PER_MILLION > max_price:
            raise no_endpoints(model.id, "that meet your max_price")
