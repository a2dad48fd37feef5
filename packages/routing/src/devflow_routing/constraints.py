"""Reads the constraints that a request sets on providers and models, and what they ask of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast

from devflow_core.request import ChatRequest
from devflow_core.safe_text import clean_name
from devflow_core.usage import parse_amount
from devflow_core.wire import json_lenient as lenient

from devflow_routing.endpoints import Endpoint

MAX_NAMES = 64
"""The most entries of a list that are read; what is beyond is left to the upstream."""
_MAX_SHOWN = 6
"""The most names that a reason lists."""
_PER_MILLION = 1_000_000
_PRICES = {"prompt": "million tokens in", "completion": "million tokens out", "request": "request"}


@dataclass(frozen=True, slots=True)
class Requirement:
    """What one constraint asks of an endpoint."""

    name: str
    """The name of the constraint in the request's body."""
    reason: str
    """Why a model without such an endpoint is left out, as text for people."""
    allows: Callable[[Endpoint], bool]
    """Decides whether an endpoint may answer."""
    is_wish: bool = False
    """Whether the constraint holds only if some model meets it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraints:
    """The constraints of a request, which are recorded with the decision.

    Empty fields constrain nothing. Names of providers are in lower case.
    """

    models: tuple[str, ...] = ()
    """The models among which `auto` chooses."""
    only: tuple[str, ...] = ()
    """The providers that may answer."""
    ignore: tuple[str, ...] = ()
    """The providers that may not."""
    order: tuple[str, ...] = ()
    """The providers that are asked first, or alone without fallbacks."""
    has_fallbacks: bool = True
    """Whether providers that are not in `order` may answer as well."""
    quantizations: tuple[str, ...] = ()
    """The quantizations that may answer, in lower case."""
    max_price: tuple[tuple[str, Decimal], ...] = ()
    """The highest prices: `prompt`, `completion` in USD per million tokens, `request` in USD."""
    is_zero_retention: bool = False
    """Whether only endpoints that keep no data may answer."""

    def list_requirements(self) -> tuple[Requirement, ...]:
        """Return what is asked of an endpoint, in the order in which it is applied."""
        found = [
            *_place_requirements(self),
            *_quality_requirements(self),
            *_privacy_requirements(self),
        ]
        if self.order:  # the wish last, so that it holds among those that may answer
            found.append(
                Requirement(
                    "provider.order",
                    f"no endpoint at {_join(self.order)}",
                    lambda one: one.is_named_in(self.order),
                    is_wish=self.has_fallbacks,
                )
            )
        return tuple(found)

    def opens(self, endpoint: Endpoint) -> bool:
        """Return whether an endpoint can answer at all; one of a service tier only if named."""
        return not endpoint.is_tier or endpoint.tag in self.only or endpoint.tag in self.order

    def as_json(self) -> dict[str, Any]:
        """Return plain values for the record of the decision; empty fields are left out."""
        found: dict[str, Any] = {
            name: list(value)
            for name in ("models", "only", "ignore", "order", "quantizations")
            if (value := getattr(self, name))
        }
        if self.max_price:
            found["max_price"] = {name: str(limit) for name, limit in self.max_price}
        if not self.has_fallbacks:
            found["allow_fallbacks"] = False
        if self.is_zero_retention:
            found["zdr"] = True
        return found


NO_CONSTRAINTS = Constraints()


def read_constraints(request: ChatRequest) -> Constraints:
    """Return the constraints in the request's body; what cannot be read constrains nothing.

    The upstream gets the same fields, and refuses malformed ones.
    """
    extra = request.extra
    if "provider" not in extra and "models" not in extra:
        return NO_CONSTRAINTS
    preferences = lenient.as_object(extra.get("provider"))
    return _from_fields({**preferences, "models": extra.get("models")})


def constraints_from_json(record: Mapping[str, Any] | None) -> Constraints:
    """Return the constraints of a record that `as_json` returned; None: there are none."""
    return _from_fields(record) if record else NO_CONSTRAINTS


def _from_fields(fields: Mapping[str, Any]) -> Constraints:
    found = Constraints(
        models=_read_names(fields.get("models")),
        only=_read_names(fields.get("only"), lower=True),
        ignore=_read_names(fields.get("ignore"), lower=True),
        order=_read_names(fields.get("order"), lower=True),
        has_fallbacks=fields.get("allow_fallbacks") is not False,
        quantizations=_read_names(fields.get("quantizations"), lower=True),
        max_price=_read_limits(fields.get("max_price")),
        is_zero_retention=bool(fields.get("zdr")),
    )
    return NO_CONSTRAINTS if not found.list_requirements() and not found.models else found


def _read_names(value: object, *, lower: bool = False) -> tuple[str, ...]:
    listed = cast("list[object]", value) if isinstance(value, list) else [value]
    names = [clean_name(one) for one in listed[:MAX_NAMES] if isinstance(one, str) and one]
    return tuple(dict.fromkeys(one.lower() if lower else one for one in names if one))


def _read_limits(value: object) -> tuple[tuple[str, Decimal], ...]:
    prices = lenient.as_object(value)
    limits = ((name, _read_limit(prices.get(name))) for name in _PRICES)
    return tuple((name, limit) for name, limit in limits if limit is not None)


def _read_limit(value: object) -> Decimal | None:
    """Return a price given as text or as a number, as the upstream takes both; None for others."""
    return None if isinstance(value, bool) else parse_amount(value)


def _place_requirements(asked: Constraints) -> list[Requirement]:
    found: list[Requirement] = []
    if asked.only:
        found.append(
            Requirement(
                "provider.only",
                f"no endpoint at {_join(asked.only)}",
                lambda one: one.is_named_in(asked.only),
            )
        )
    if asked.ignore:
        found.append(
            Requirement(
                "provider.ignore",
                f"no endpoint besides those at {_join(asked.ignore)}",
                lambda one: not one.is_named_in(asked.ignore),
            )
        )
    return found


def _quality_requirements(asked: Constraints) -> list[Requirement]:
    found: list[Requirement] = []
    if asked.quantizations:
        found.append(
            Requirement(
                "provider.quantizations",
                f"no endpoint that is known to run {_join(asked.quantizations)}",
                lambda one: one.quantization in asked.quantizations,
            )
        )
    if asked.max_price:
        limits = " and ".join(f"${limit:f} per {_PRICES[name]}" for name, limit in asked.max_price)
        found.append(
            Requirement(
                "provider.max_price",
                f"dearer than max_price ({limits})",
                lambda one: _is_within(one, asked.max_price),
            )
        )
    return found


def _privacy_requirements(asked: Constraints) -> list[Requirement]:
    """Return what is required of retention; where that is unknown, the upstream alone decides.

    `data_collection` narrows nothing: it is about training and keeping for good, of which no list
    is published. The upstream refuses a model without such an endpoint, and the next one is asked.
    """
    if not asked.is_zero_retention:
        return []
    return [Requirement("provider.zdr", "has no zero-retention endpoint", _may_keep_nothing)]


def _may_keep_nothing(endpoint: Endpoint) -> bool:
    return endpoint.is_zero_retention is not False


def _is_within(endpoint: Endpoint, limits: Collection[tuple[str, Decimal]]) -> bool:
    """Return whether each price is known and no higher than its limit."""
    prices = {
        "prompt": endpoint.prompt_usd,
        "completion": endpoint.completion_usd,
        "request": endpoint.request_usd,
    }
    for name, limit in limits:
        price = prices[name]
        if price is None or price * (1 if name == "request" else _PER_MILLION) > limit:
            return False
    return True


def _join(names: tuple[str, ...]) -> str:
    """Return names as in `a, b or c`; of many, the first ones."""
    shown = names if len(names) <= _MAX_SHOWN else (*names[:_MAX_SHOWN], "others")
    return " or ".join(part for part in (", ".join(shown[:-1]), shown[-1]) if part)
