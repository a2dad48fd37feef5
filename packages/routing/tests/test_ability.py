"""Abilities: what evidence says, what is guessed, and what the user says of models."""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache

import numpy as np
import pytest
from devflow_core.request import ChatRequest
from devflow_core.routing import Task
from devflow_core.testing import a_task
from devflow_core.usage import Price
from devflow_openrouter.models.catalogue import load_shipped_catalogue
from devflow_routing import Catalogue, ModelConfig, Router
from devflow_routing.ability import TASK_TYPES, AbilityTable
from devflow_routing.capabilities import needs_of
from devflow_routing.feedback import Feedback
from devflow_routing.model_selector import ModelSelector

CODING = Task(type="coding", complexity="medium", confidence=1.0)
TOMORROW = int(datetime(2026, 12, 1, tzinfo=UTC).timestamp())


@cache
def shipped() -> Catalogue:
    return load_shipped_catalogue()


def with_models(*models: ModelConfig) -> Catalogue:
    return Catalogue(
        (*shipped().models, *models), version="test", fetched_at=datetime(2026, 12, 1, tzinfo=UTC)
    )


def like(name: str, **changes: object) -> ModelConfig:
    """A model listed tomorrow, of which nothing is known but what the list says."""
    known = shipped().find(name)
    return replace(known, created=TOMORROW, name="", **changes)  # type: ignore[arg-type]


def priced(usd_per_mtok: str) -> Price:
    usd = Decimal(usd_per_mtok) / 10**6
    return Price(prompt=usd, completion=usd, version="test")


def lower_of(catalogue: Catalogue, task: Task = CODING) -> dict[str, float]:
    expected = AbilityTable(catalogue.models).estimate(task)
    ids = [model.id for model in catalogue.models]
    return dict(zip(ids, expected.lower.tolist(), strict=True))


def test_a_hundred_models_that_may_be_chosen_have_evidence_as_shipped() -> None:
    selector = ModelSelector(shipped())
    table = AbilityTable(selector.models)
    needs = needs_of(ChatRequest.from_text("Hi"))
    eligible = selector.select(needs, today=date(2026, 8, 16)).eligible
    assert eligible.sum() >= 290
    assert (table.has_evidence & eligible).sum() >= 100


def test_the_lower_end_is_below_the_mean_and_further_for_guesses() -> None:
    table = AbilityTable(shipped().models)
    expected = table.estimate(CODING)
    assert (expected.lower <= expected.mean).all()
    assert not expected.lower.flags.writeable
    assert not expected.mean.flags.writeable
    logits = [np.log(one / (1 - one)) for one in (expected.mean, expected.lower)]
    gap = logits[0] - logits[1]
    assert np.median(gap[~table.has_evidence]) > 1.5 * np.median(gap[table.has_evidence])


def test_a_new_opus_ranks_near_its_siblings() -> None:
    newest = like("anthropic/claude-opus-5", id="anthropic/claude-opus-6", canonical_slug="")
    lower = lower_of(with_models(newest))
    ranked = sorted(lower, key=lambda name: -lower[name])
    assert ranked.index("anthropic/claude-opus-6") < 30
    assert lower["anthropic/claude-opus-6"] > lower["anthropic/claude-sonnet-4.5"]


def test_a_new_model_without_evidence_is_not_worth_a_fraction_of_a_cent() -> None:
    cheap = replace(
        like("mistralai/mistral-nemo"),
        id="somebody/mythoroleplay-12b",
        canonical_slug="",
        price=priced("0.02"),
    )
    catalogue = with_models(cheap)
    lower = lower_of(catalogue)
    for known in ("openai/gpt-oss-120b", "openai/gpt-5-nano", "deepseek/deepseek-v3.2"):
        assert lower[cheap.id] < lower[known]
    route = Router(catalogue).route(ChatRequest.from_text("Hi", model="auto:cheap"), CODING)
    assert route.chosen.model != cheap.id


def test_an_expensive_stranger_is_not_as_good_as_the_best_that_was_measured() -> None:
    stranger = like(
        "openai/gpt-5.6-sol", id="stranger/model-one", canonical_slug="", price=priced("30")
    )
    lower = lower_of(with_models(stranger))
    assert lower["stranger/model-one"] < lower["anthropic/claude-opus-5"]


def test_variants_share_what_is_known_of_the_weights() -> None:
    models = shipped().models
    expected = AbilityTable(models).estimate(CODING).mean
    at = {model.id: index for index, model in enumerate(models)}
    pairs = [
        (at[model.id], at[model.id.partition(":")[0]])
        for model in models
        if model.variant in {"free", "batch"} and model.id.partition(":")[0] in at
    ]
    assert len(pairs) > 20
    for variant, plain in pairs:
        if models[variant].canonical_slug == models[plain].canonical_slug:
            assert expected[variant] == expected[plain]


def test_general_ability_does_not_win_faithful_summaries_alone() -> None:
    models = [model.id for model in shipped().models]
    table = AbilityTable(shipped().models)
    edges: list[float] = []
    for kind in ("knowledge", "text_ops"):
        mean = table.estimate(replace(CODING, type=kind)).mean  # type: ignore[arg-type]
        logit = np.log(mean / (1 - mean))
        strong, weak = (models.index(name) for name in ("openai/gpt-5", "openai/gpt-4.1-mini"))
        edges.append(float(logit[strong] - logit[weak]))
    assert edges[1] < 0.8 * edges[0]


def test_harder_tasks_are_expected_to_go_worse() -> None:
    table = AbilityTable(shipped().models)
    easy, hard = (table.estimate(replace(CODING, difficulty=one)) for one in (0.2, 0.8))
    assert (easy.mean > hard.mean).all()
    assert (easy.lower > hard.lower).all()


def test_domains_are_weighted() -> None:
    table = AbilityTable(shipped().models)
    mixed = table.estimate(replace(CODING, domains=(("math", 0.5), ("creative", 0.5)))).mean
    ends = [table.estimate(replace(CODING, type=kind)).mean for kind in ("math", "creative")]
    assert (np.minimum(*ends) - 1e-12 <= mixed).all()
    assert (mixed <= np.maximum(*ends) + 1e-12).all()


def test_the_same_inputs_give_the_same_table() -> None:
    models = shipped().models
    for kind in TASK_TYPES:
        task = replace(CODING, type=kind)
        one, two = (AbilityTable(models).estimate(task) for _ in range(2))
        assert (one.mean == two.mean).all()
        assert (one.lower == two.lower).all()


def test_feedback_of_unknown_models_and_kinds_is_ignored() -> None:
    models = shipped().models
    heard = Feedback().with_score("gone/model", "coding", 0.0).with_score(models[0].id, "odd", 0.0)
    plain, learned = (AbilityTable(models, None, one) for one in (None, heard))
    assert (plain.estimate(a_task()).mean == learned.estimate(a_task()).mean).all()
    assert plain.version != learned.version


def test_feedback_moves_a_model_and_makes_it_surer() -> None:
    models = shipped().models
    heard = Feedback()
    for _ in range(40):
        heard = heard.with_score(models[0].id, "coding", 0.0)
    plain, learned = (AbilityTable(models, None, one).estimate(CODING) for one in (None, heard))
    assert learned.mean[0] < plain.mean[0] - 0.2
    assert (learned.mean[1:] == plain.mean[1:]).all()


def test_the_users_word_overrules_public_scores() -> None:
    catalogue = shipped().with_overrides({"openai/gpt-5": {"quality": {"coding": 0.2}}})
    table = AbilityTable(catalogue.models)
    index = [model.id for model in catalogue.models].index("openai/gpt-5")
    expected = table.estimate(CODING)
    assert expected.mean[index] == pytest.approx(0.2)
    assert expected.lower[index] == pytest.approx(0.2)
    assert table.describe(index, CODING) == "the settings"
    assert "GPQA" in table.describe(index, replace(CODING, type="reasoning"))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("openai/gpt-5", ("GPQA Diamond 85% (Epoch AI, Aug 2025, medium effort)", "more scores")),
        ("anthropic/claude-opus-5-fast", ("measured as anthropic/claude-opus-5",)),
        ("openai/gpt-5.5-pro", ("not measured: guessed from its sibling openai/",)),
        ("gryphe/mythomax-l2-13b", ("not measured: guessed from price and age",)),
    ],
)
def test_the_description_says_what_an_estimate_rests_on(model: str, said: tuple[str, ...]) -> None:
    models = shipped().models
    task = replace(CODING, type="reasoning")
    text = AbilityTable(models).describe([one.id for one in models].index(model), task)
    assert all(one in text for one in (*said, "points")), text


def test_a_model_that_borrows_scores_is_as_good_as_their_owner_whatever_it_costs() -> None:
    models = load_shipped_catalogue().models
    ids = [one.id for one in models]
    owner, borrower = (ids.index(f"anthropic/claude-opus-5{tail}") for tail in ("", "-fast"))
    found = AbilityTable(models).estimate(a_task())
    assert found.mean[owner] == found.mean[borrower]
    assert found.lower[owner] == found.lower[borrower]
