"""Defines an endpoint: one way in which a provider serves a model, with its price and its speed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType

from devflow_core.usage import Price

UNKNOWN = "unknown"
"""The quantization of an endpoint that does not publish it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One way in which a provider serves a model."""

    tag: str
    """The provider's slug, and after a slash the variant (`deepinfra/fp8`) or service tier."""
    provider: str = ""
    """The provider's name for people, which requests may use as well."""
    quantization: str = UNKNOWN
    prompt_usd: Decimal | None = None
    """The price in USD per token of a prompt; None if it is unknown."""
    completion_usd: Decimal | None = None
    """The price in USD per token of a reply; None if it is unknown."""
    request_usd: Decimal = Decimal(0)
    """The price of a request in USD, whatever its length."""
    is_tier: bool = False
    """Whether it belongs to a service tier (`openai/flex`), which is served only if asked for."""
    is_zero_retention: bool | None = None
    """Whether it keeps no data; None if that is unknown."""
    output_tokens_per_s: float | None = None
    """The published median speed of the last half hour; None if it is unknown."""
    ttft_s: float | None = None
    """The published median time to the first token, in seconds; None if it is unknown."""

    def is_named_in(self, names: Collection[str]) -> bool:
        """Return whether a request's list of providers includes this endpoint.

        A slug without a variant includes all variants of the provider, but no service tier.

        Args:
            names: slugs, tags or names for people, in lower case.
        """
        if self.tag in names:
            return True
        return not self.is_tier and (
            self.tag.partition("/")[0] in names or self.provider.lower() in names
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEndpoints:
    """The known endpoints of one model."""

    rows: tuple[Endpoint, ...] = ()
    asked_at: datetime | None = None
    """When all of them were fetched; None: only those that keep no data are known."""


NO_ENDPOINTS: Mapping[str, ModelEndpoints] = MappingProxyType({})


def assume_endpoints(
    slugs: Iterable[str],
    known: ModelEndpoints,
    price: Price | None,
    *,
    is_zero_retention: bool | None,
) -> tuple[Endpoint, ...]:
    """Return an endpoint at the listed price for each provider that is not among the known ones.

    Args:
        slugs: the providers.
        known: the known endpoints.
        price: the model's listed price; None: unknown, and so are those of the endpoints.
        is_zero_retention: whether the endpoints keep no data; None: unknown.
    """
    told = {one.tag.partition("/")[0] for one in known.rows}
    return tuple(
        Endpoint(
            tag=slug,
            prompt_usd=price and price.prompt,
            completion_usd=price and price.completion,
            request_usd=price.request if price else Decimal(0),
            is_zero_retention=is_zero_retention,
        )
        for slug in slugs
        if slug not in told
    )


def weigh_speed(rows: Iterable[Endpoint]) -> tuple[float | None, float | None]:
    """Return the speed and the time to the first token to expect of a model.

    Providers are weighted as the upstream chooses among them: by the inverse square of their price.
    Service tiers are left out.

    Returns:
        Tokens per second, and seconds; each is None if no endpoint publishes it.
    """
    speeds = [(_weight(one), one.output_tokens_per_s) for one in rows if not one.is_tier]
    waits = [(_weight(one), one.ttft_s) for one in rows if not one.is_tier]
    return _mean(speeds), _mean(waits)


def _weight(endpoint: Endpoint) -> float:
    price = float((endpoint.prompt_usd or 0) + (endpoint.completion_usd or 0))
    return 1.0 / max(price, 1e-9) ** 2


def _mean(weighted: list[tuple[float, float | None]]) -> float | None:
    known = [(weight, value) for weight, value in weighted if value]
    total = sum(weight for weight, _ in known)
    return sum(weight * value for weight, value in known) / total if known else None
