"""Says how much is known of a model from what it is: its maker, name, price, age and size."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from devflow_routing.model_config import ModelConfig

Floats = NDArray[np.float64]

_EPOCH_S, _YEAR_S = 1_750_000_000, 365.25 * 86_400
"""Ages are counted in years from June 2025."""
_MIN_USD_PER_MTOK = 0.01
_USUAL_PARAMETERS_B = 30.0
_USUAL_WINDOW = 100_000
_SIZE = re.compile(r"[-_](\d+(?:\.\d+)?)b\b")
_NO_FAMILY = frozenset({"preview", "exp", "instruct", "it", "latest", "chat", "beta"})
"""Words in ids that tell no family."""

# The spread of abilities, in standard deviations among models: what a maker's models have in
# common, what those of one family add, and what is each model's own; and how fast that fades with
# the years between two models and the logarithm of the ratio of their prices. Found by leaving
# models out (benchmarks/routing_evidence.py).
_FEATURE_SPREAD = np.array([1.7, 0.85, 1.7, 0.85, 0.85, 0.85, 0.85])
_MAKER_SPREAD, _MAKER_YEARS = 0.3, 3.0
_FAMILY_SPREAD, _FAMILY_LOG_PRICE, _FAMILY_YEARS = 0.25, 6.0, 6.0
_OWN_SPREAD = 0.2


def relate(models: Sequence[ModelConfig], *, newest_s: int) -> Floats:
    """Return the covariance of the general abilities of models, before any score is known.

    Abilities are in standard deviations among models. The covariance is that of a ridge regression
    on price, age and size, with what makers and families have in common.

    Args:
        models: different models.
        newest_s: when the newest model with scores was listed, in seconds since 1970. Progress
            after it is not assumed: later models are taken to be as old.
    """
    rows = [_features(model, newest_s) for model in models]
    features = np.array(rows, dtype=np.float64).reshape(-1, len(_FEATURE_SPREAD))
    scaled = features * _FEATURE_SPREAD
    log_price, years = features[:, 1], features[:, 2]
    apart = np.abs(years[:, None] - years[None])
    price_apart = np.abs(log_price[:, None] - log_price[None])
    makers = np.unique([model.author for model in models], return_inverse=True)[1]
    same_maker = makers[:, None] == makers[None]
    maker = _MAKER_SPREAD**2 * np.exp(-apart / _MAKER_YEARS)
    family = _FAMILY_SPREAD**2 * _family_likeness(models)
    family *= np.exp(-price_apart / _FAMILY_LOG_PRICE - apart / _FAMILY_YEARS)
    own = _OWN_SPREAD**2 * np.eye(len(models))
    return scaled @ scaled.T + same_maker * (maker + family) + own


def _features(model: ModelConfig, newest_s: int) -> tuple[float, ...]:
    usd = _MIN_USD_PER_MTOK if model.price is None else _usd_per_mtok(model)
    years = (min(model.created, newest_s) - _EPOCH_S) / _YEAR_S if model.created else 0.0
    size = _SIZE.search(model.id)
    return (
        1.0,
        math.log(max(usd, _MIN_USD_PER_MTOK)),
        years,
        float(model.reasons_by_default),
        math.log(max(float(size[1]), 0.1) / _USUAL_PARAMETERS_B) if size else 0.0,
        math.log(max(model.context_length or _USUAL_WINDOW, 1_000) / _USUAL_WINDOW),
        min(years, 0.0) ** 2,
    )


def _usd_per_mtok(model: ModelConfig) -> float:
    """Return the price of a million tokens, three quarters of them input; 0 if it is unknown."""
    price = model.price
    return 0.0 if price is None else float(price.prompt * 3 + price.completion) / 4 * 1e6


def _family_words(model: str) -> frozenset[str]:
    """Return the words of an id that tell a family: `opus`, `flash` and `lite`, no versions."""
    name = model.partition("/")[2].partition(":")[0]
    found = (re.sub(r"\d", "", part) for part in re.split(r"[-_.]", name))
    return frozenset(word for word in found if len(word) > 1 and word not in _NO_FAMILY)


def _family_likeness(models: Sequence[ModelConfig]) -> Floats:
    """Return the share of words that two ids have in common; 1 where neither has any."""
    words = [_family_words(model.id) for model in models]
    index: dict[str, int] = {}
    marks = [
        (row, index.setdefault(word, len(index)))
        for row, found in enumerate(words)
        for word in found
    ]
    has = np.zeros((len(models), max(len(index), 1)))
    has[tuple(np.array(marks, dtype=np.int64).reshape(-1, 2).T)] = 1.0
    common = has @ has.T
    count = has.sum(axis=1)
    either = count[:, None] + count[None] - common
    return np.where(either > 0, common / np.maximum(either, 1.0), 1.0)
