"""Learns a table from recorded answers: `devflow routing train`, and the benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from devflow_core.errors import InvalidRequest

from devflow_routing.classifier.task_classifier import TaskClassifier
from devflow_routing.learned.table import LearnedTable, TableFacts
from devflow_routing.training.answers import Answers, arrange_answers
from devflow_routing.training.coarse import CoarseTable, learn_coarse
from devflow_routing.training.examples import Example
from devflow_routing.training.word_heads import LearnedHeads, learn_heads

MIN_PROMPTS = 50
"""The fewest prompts that anything is learned from."""
MIN_TEXTS = 100
"""The fewest prompts with a text that heads on words are learned from; fewer mislead."""
MAX_TEXTS = 5_000
"""The most prompts that heads are learned from; memory grows with their square."""
MIN_ANSWERS_PER_PROMPT = 1.5
"""The fewest answers per prompt, on average, for models to be compared prompt by prompt."""


def train(
    examples: Sequence[Example],
    *,
    classifier: TaskClassifier | None = None,
    source: str = "",
    learned_at: str = "",
) -> LearnedTable:
    """Learn a table; the same examples give the same version.

    Heads on words are learned where at least `MIN_TEXTS` prompts have a text, models answered the
    same prompts, and the heads save something; otherwise only the coarse table is.

    Args:
        examples: prompts with what models scored and cost on them.
        classifier: reads the prompts, as it will when requests are routed.
        source: where the examples come from, for people.
        learned_at: the present date and time in UTC, for people.

    Raises:
        InvalidRequest: fewer than `MIN_PROMPTS` prompts, or than two models; the message says so.
    """
    answers = arrange_answers(examples, classifier or TaskClassifier(cache_size=0))
    _require_enough(answers)
    best = int(answers.scores.mean(axis=0).argmax())
    coarse = learn_coarse(answers, best)
    heads = _try_heads(answers, best)
    point = heads.point if heads is not None else coarse.point
    facts = TableFacts(
        source=source,
        prompts=len(answers),
        answers=int(answers.is_recorded.sum()),
        quality_kept=round(point.quality_kept, 4),
        saved=round(point.saved, 4),
        learned_at=learned_at,
    )
    return _join(answers.models, best, coarse, heads, facts)


def _require_enough(answers: Answers) -> None:
    if len(answers) < MIN_PROMPTS or len(answers.models) < 2:
        raise InvalidRequest(
            f"{len(answers)} prompts answered by {len(answers.models)} models are too few to learn"
            f" from. {MIN_PROMPTS} prompts and 2 models are needed at least; for choices by the"
            f" words of a prompt, {MIN_TEXTS} prompts that several models answered."
        )


def _try_heads(answers: Answers, best: int) -> LearnedHeads | None:
    """Return heads on words; None if too few prompts can be compared, or they save nothing."""
    places = np.flatnonzero(answers.has_texts)
    if len(places) < MIN_TEXTS:
        return None
    part = answers.select(places[:: -(-len(places) // MAX_TEXTS)])
    if part.is_recorded.sum() < MIN_ANSWERS_PER_PROMPT * len(part):
        return None
    learned = learn_heads(part, best)
    return learned if learned.point.saved > 0 else None


def _join(
    models: tuple[str, ...],
    best: int,
    coarse: CoarseTable,
    heads: LearnedHeads | None,
    facts: TableFacts,
) -> LearnedTable:
    table = LearnedTable(
        models=models,
        kinds=coarse.kinds,
        best=best,
        coarse_quality=coarse.quality,
        coarse_costs=coarse.costs,
        coarse_price=coarse.point.price,
        facts=facts,
    )
    if heads is None:
        return table
    return replace(
        table,
        domains=heads.domains,
        domain_quality=heads.domain_quality,
        heads=heads.heads,
        gate=heads.gate,
        price=heads.point.price,
        log_cost_range=heads.log_cost_range,
    )
