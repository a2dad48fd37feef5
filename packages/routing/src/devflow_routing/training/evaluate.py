"""Judges a router on recorded answers: what its choices scored and cost, by `Router.route`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
from devflow_core.request import ChatRequest
from devflow_core.routing import SelectionCriteria
from devflow_core.usage import Price
from numpy.typing import NDArray

from devflow_routing.catalogue import Catalogue
from devflow_routing.learned.table import LearnedTable
from devflow_routing.model_config import ModelConfig
from devflow_routing.policy import RoutingPolicy
from devflow_routing.router import Router
from devflow_routing.training.answers import Answers

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_WINDOW = 1_000_000
"""The context window, in tokens, of models outside the catalogue."""
_PROMPT_TOKENS, _REPLY_TOKENS = 400, 600
"""The tokens that half of such a model's mean cost is spread over, each."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Judgement:
    """What the choices for some prompts scored and cost, beside the best single model's."""

    chosen: Ints
    """The column of the model that was chosen for each prompt."""
    scores: Floats
    costs_usd: Floats
    best_scores: Floats
    best_costs_usd: Floats

    @property
    def quality_kept(self) -> float:
        """The quality reached, as a share of the best single model's."""
        return float(self.scores.sum() / max(self.best_scores.sum(), 1e-9))

    @property
    def saved(self) -> float:
        """The share of the best single model's cost that was saved; negative: more was spent."""
        return 1 - float(self.costs_usd.sum() / max(self.best_costs_usd.sum(), 1e-12))


def judge_router(
    answers: Answers,
    *,
    learned: LearnedTable | None,
    best: str,
    catalogue: Catalogue | None = None,
    criteria: SelectionCriteria | None = None,
) -> Judgement:
    """Ask a router for a model for every prompt, and look up what that model scored and cost.

    Args:
        answers: the recorded answers; only their models may be chosen.
        learned: the router's learned table, if any.
        best: the single model to compare with, one of the answers' models.
        catalogue: lists the models; others of the answers are priced by their recorded costs.
        criteria: the weights that every request brings, if any.
    """
    router = Router(
        build_catalogue(answers, catalogue), learned=learned, policy=RoutingPolicy(chain_length=1)
    )
    columns = {name: column for column, name in enumerate(answers.models)}
    requests = (
        replace(ChatRequest.from_text(task.text or "?", model="auto"), criteria=criteria)
        for task in answers.tasks
    )
    names = [
        router.route(request, task).chosen.model
        for request, task in zip(requests, answers.tasks, strict=True)
    ]
    chosen = np.array([columns[name] for name in names], dtype=np.int64)
    return judge_choices(answers, chosen, best)


def judge_single(answers: Answers, model: str) -> Judgement:
    """Return what one model scored and cost on every prompt."""
    column = answers.models.index(model)
    return judge_choices(answers, np.full(len(answers), column, dtype=np.int64), model)


def judge_choices(answers: Answers, chosen: Ints, best: str) -> Judgement:
    """Return what the chosen models, by column, scored and cost, beside the best single one."""
    places, column = np.arange(len(answers)), answers.models.index(best)
    return Judgement(
        chosen=chosen,
        scores=answers.scores[places, chosen],
        costs_usd=answers.costs_usd[places, chosen],
        best_scores=answers.scores[:, column],
        best_costs_usd=answers.costs_usd[:, column],
    )


def build_catalogue(answers: Answers, known: Catalogue | None = None) -> Catalogue:
    """Return a catalogue of the models of the answers alone.

    Args:
        answers: recorded answers.
        known: where models are taken from; others get prices by their mean recorded cost.
    """
    means = answers.costs_usd.mean(axis=0).tolist()
    models = [
        (known.get(name) if known is not None else None) or _price_model(name, cost)
        for name, cost in zip(answers.models, means, strict=True)
    ]
    return Catalogue(models, version="recorded", fetched_at=datetime.fromtimestamp(0, UTC))


def _price_model(name: str, mean_cost_usd: float) -> ModelConfig:
    half = Decimal(f"{mean_cost_usd / 2:.12f}")
    price = Price(prompt=half / _PROMPT_TOKENS, completion=half / _REPLY_TOKENS)
    return ModelConfig(id=name, context_length=_WINDOW, price=price)
