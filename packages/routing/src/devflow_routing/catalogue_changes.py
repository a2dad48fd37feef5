"""Finds what has changed between two lists of models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from devflow_routing.model_config import ModelConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueChange:
    """One difference between two catalogues."""

    model: str
    kind: Literal["added", "removed", "price_rose", "price_fell", "window", "expires"]
    """What has changed; a price that has become unknown counts as having risen."""
    before: str
    """The price, window or day of expiry before, as text for people; or that it was not listed."""
    after: str
    """The same now."""


def diff_model(
    name: str, old: ModelConfig | None, new: ModelConfig | None
) -> list[CatalogueChange]:
    """Return the differences between two rows of a model; None: it is not listed."""
    if old is None or new is None:
        kind: Literal["added", "removed"] = "added" if old is None else "removed"
        return [
            CatalogueChange(
                model=name, kind=kind, before=_format_price(old), after=_format_price(new)
            ),
        ]
    found: list[CatalogueChange] = []
    before, after = _format_price(old), _format_price(new)
    if before != after:
        rose = _price_sum(new) >= _price_sum(old)
        kind_of_price: Literal["price_rose", "price_fell"] = "price_rose" if rose else "price_fell"
        found.append(CatalogueChange(model=name, kind=kind_of_price, before=before, after=after))
    if old.context_length != new.context_length:
        windows = (str(old.context_length), str(new.context_length))
        found.append(
            CatalogueChange(model=name, kind="window", before=windows[0], after=windows[1])
        )
    if old.expires_on != new.expires_on:
        days = (str(old.expires_on), str(new.expires_on))
        found.append(CatalogueChange(model=name, kind="expires", before=days[0], after=days[1]))
    return found


def _price_sum(model: ModelConfig) -> float:
    price = model.price
    return float("inf") if price is None else float(price.prompt + price.completion)


def _format_price(model: ModelConfig | None) -> str:
    if model is None:
        return "not listed"
    if model.price is None:
        return "price unknown"
    prompt, completion = (model.price.prompt * 10**6, model.price.completion * 10**6)
    return f"{prompt.normalize():f} in, {completion.normalize():f} out, USD per million tokens"
