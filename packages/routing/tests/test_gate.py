"""Which prompts pass for known, and at which price and likeness a table's choices are made."""

from dataclasses import replace

import numpy as np
import pytest
from devflow_core.request import ChatRequest
from devflow_core.routing import Task
from devflow_routing import Router, TaskClassifier
from devflow_routing.ability import Expected, find_guess_margin
from devflow_routing.classifier.features import BUCKETS, DENSE_FEATURES, extract_features
from devflow_routing.learned.expectation import LearnedExpectation
from devflow_routing.learned.gate import Gate, Nearness, spread_kinds
from devflow_routing.learned.heads import WordHeads
from devflow_routing.learned.table import combine_heads
from devflow_routing.strategies.learned_choice import LearnedChoice
from devflow_routing.training.answers import arrange_answers
from devflow_routing.training.evaluate import build_catalogue
from devflow_routing.training.examples import Example
from devflow_routing.training.gate_fit import fit_gate
from devflow_routing.training.operating_point import (
    GatedTrial,
    Trial,
    choose_models,
    find_gated_point,
)
from devflow_routing.training.ridge import RidgeRegression
from devflow_routing.training.train import train
from numpy.typing import NDArray

CLASSIFIER = TaskClassifier()
MATH = Task(type="math", complexity="low", confidence=1.0, domains=(("math", 0.9), ("coding", 0.1)))
POEM = Task(type="creative", complexity="low", confidence=1.0)


def test_predictions_without_a_group_are_those_of_a_fit_without_it() -> None:
    random = np.random.default_rng(1)
    rows = random.normal(size=(40, 8)).astype(np.float32)
    targets = random.normal(size=(40, 2)).astype(np.float32)
    group = np.arange(40) % 4 == 1
    left = RidgeRegression(rows @ rows.T, targets, 2.0).leave_group_out(group)
    others = rows[~group]
    fit = RidgeRegression(others @ others.T, targets[~group], 2.0)
    expected = rows[group] @ others.T @ fit.dual_coef + fit.mean
    assert left == pytest.approx(expected, abs=1e-3)


def test_a_classifiers_own_domains_do_not_count_as_kinds() -> None:
    own = replace(MATH, domains=(("tax law", 0.7), ("math", 0.3)))
    unknown = replace(MATH, domains=(("tax law", 1.0),))
    shares = spread_kinds((MATH, own, unknown, POEM))
    assert shares.sum(axis=1) == pytest.approx(1.0)
    assert (shares[1] == shares[2]).all()
    assert shares[0].max() == pytest.approx(0.9)
    assert shares[3].argmax() != shares[2].argmax()


def nearness(own: float, other: float, centre: float, task: Task = MATH) -> Nearness:
    return Nearness(
        memberships=np.array([[own, other]]),
        centres=np.array([[centre, 0.1]]),
        kinds=spread_kinds((task,)),
    )


def join(parts: list[Nearness]) -> Nearness:
    return Nearness(
        memberships=np.concatenate([one.memberships for one in parts]),
        centres=np.concatenate([one.centres for one in parts]),
        kinds=np.concatenate([one.kinds for one in parts]),
    )


@pytest.fixture
def gate() -> Gate:
    """Two domains of sums and poems; what is left out of both is farther from the centre."""
    random = np.random.default_rng(2)
    noise = random.normal(scale=0.05, size=(60, 2)).tolist()
    known = [nearness(0.9 + a, 0.1, 0.5 + b) for a, b in noise[:30]]
    known += [
        Nearness(
            memberships=np.array([[0.1, 0.9 + a]]),
            centres=np.array([[0.1, 0.5 + b]]),
            kinds=spread_kinds((POEM,)),
        )
        for a, b in noise[30:]
    ]
    # the only domain that remains is sure of everything: its regression tells nothing, or worse
    unknown = [nearness(-np.inf, 1.0 + a, 0.0) for a, _ in noise[:30]]
    unknown += [nearness(1.0 + a, -np.inf, 0.1 + b, POEM) for a, b in noise[30:]]
    member = np.repeat(np.eye(2, dtype=bool), 30, axis=0)
    found = fit_gate(join(known), join(unknown), member)
    return replace(found, threshold=float(found.likeness(join(known))[1].min()))


def likeness(gate: Gate, one: Nearness) -> float:
    return float(gate.likeness(one)[1][0])


def test_no_weight_speaks_against_the_nearest_domain(gate: Gate) -> None:
    assert (gate.weights >= 0).all()
    assert gate.weights[1] > 0


def test_the_kind_that_a_domain_has_makes_a_prompt_more_like_it(gate: Gate) -> None:
    usual, odd = (gate.measure(nearness(0.9, 0.1, 0.5, task))[1][0] for task in (MATH, POEM))
    assert usual[2] > odd[2] + 1
    assert usual[:2] == pytest.approx(odd[:2])


def test_what_is_in_no_manner_at_all_is_unlike_however_much_speaks_for_it(gate: Gate) -> None:
    assert likeness(gate, nearness(0.9, 0.1, 0.5)) >= gate.threshold
    assert likeness(gate, nearness(99.0, 0.1, -9.0)) == -np.inf


def trial(gains: list[float], scores_of_best: float = 1.0) -> Trial:
    """A dear best model and a cheap one that is expected to be as good, and gains or loses."""
    count = len(gains)
    scores = np.column_stack((np.full(count, scores_of_best), scores_of_best + np.array(gains)))
    return Trial(
        quality=np.ones((count, 2)),
        costs=np.tile((1.0, 0.1), (count, 1)),
        scores=scores,
        costs_usd=np.tile((1.0, 0.1), (count, 1)),
        best=0,
    )


def spread(low: float, high: float, count: int) -> NDArray[np.float64]:
    return np.linspace(low, high, count)


def test_the_gate_closes_as_far_as_domains_that_were_left_out_need() -> None:
    known = GatedTrial(trial=trial([0.0] * 100), likeness=spread(0.0, 1.0, 100))
    lost = GatedTrial(trial=trial([-1.0] * 100), likeness=spread(-1.0, 0.08, 100))
    harmless = GatedTrial(trial=trial([0.0] * 100), likeness=spread(-1.0, 0.08, 100))
    careful, threshold = find_gated_point(known, lost)
    carefree, open_threshold = find_gated_point(known, harmless)
    assert open_threshold < threshold < 0.2
    assert 0.76 < careful.saved < carefree.saved
    assert carefree.saved == pytest.approx(0.9)


def test_safety_costs_no_more_than_a_part_of_the_saving() -> None:
    known = GatedTrial(trial=trial([0.0] * 100), likeness=spread(0.0, 1.0, 100))
    lost = GatedTrial(trial=trial([-1.0] * 100), likeness=spread(0.0, 1.0, 100))
    point, threshold = find_gated_point(known, lost)
    assert point.saved >= 0.85 * 0.9
    assert threshold == pytest.approx(0.15, abs=0.01)


def test_nothing_is_saved_where_known_prompts_lose() -> None:
    known = GatedTrial(trial=trial([-0.1] * 100), likeness=spread(0.0, 1.0, 100))
    point, _ = find_gated_point(known, None)
    assert (point.saved, point.quality_kept) == (0.0, 1.0)


def test_half_of_a_single_domain_counts_as_unlike_it() -> None:
    known = GatedTrial(trial=trial([0.0] * 100), likeness=spread(0.0, 1.0, 100))
    point, threshold = find_gated_point(known, None)
    assert threshold == pytest.approx(0.5, abs=0.02)
    assert point.saved == pytest.approx(0.45, abs=0.02)


def test_where_nothing_is_known_the_best_single_model_answers() -> None:
    costs = {"x/dear": 0.02, "y/cheap": 0.001}
    examples = [
        Example(
            prompt=f"Add up the bill for {number} pieces of {noun} from the list.",
            scores={"x/dear": 1.0, "y/cheap": float(number % 9 > 0)},
            costs_usd=costs,
            domain="bills",
        )
        for number in range(40)
        for noun in ("clock", "river", "stone")
    ]
    table = train(examples, classifier=CLASSIFIER)
    router = Router(build_catalogue(arrange_answers(examples, CLASSIFIER)), learned=table)
    poem = ChatRequest.from_text("Write a sonnet about the first snow in the hills.", model="auto")
    assert router.route(poem, CLASSIFIER.classify(poem)).chosen.model == "x/dear"


def test_expectations_are_the_mean_of_heads_and_likely_domains_within_known_costs() -> None:
    raw = np.array([[0.2, 0.6, 9.0, 0.0, -99.0, 99.0]])
    table = np.array([[0.4, 1.0], [0.0, 0.0]])
    quality, costs = combine_heads(raw, table, (-1.0, 0.0))
    assert quality == pytest.approx(np.array([[0.3, 0.8]]))
    assert costs == pytest.approx(np.exp([[-1.0, 0.0]]))


def test_a_long_text_scores_no_higher_for_its_length() -> None:
    heads = WordHeads(
        words=np.ones((BUCKETS, 1), dtype=np.int8),
        scale=np.array([0.5], dtype=np.float32),
        squared_idf=np.ones(BUCKETS, dtype=np.float32),
        dense=np.zeros((DENSE_FEATURES, 1), dtype=np.float32),
        bias=np.array([0.25], dtype=np.float32),
    )
    features = extract_features("one two three four five six seven")
    expected = 0.5 * np.sqrt(len(features.words)) + 0.25
    assert heads.apply(features) == pytest.approx([expected], rel=1e-5)


def test_no_model_dearer_than_the_best_single_one_is_chosen() -> None:
    quality, costs = np.array([[0.5, 0.9, 0.6]]), np.array([[1.0, 2.0, 1.0]])
    assert choose_models(quality, costs, 0, 0.0).tolist() == [2]


def test_an_unknown_score_follows_how_the_prompt_went_with_others() -> None:
    examples = [
        Example(
            prompt=f"{number} is it", scores={"a": good, "b": good}, costs_usd={"a": 1.0, "b": 1.0}
        )
        for number, good in enumerate((1.0, 0.0) * 10)
    ]
    examples += [
        Example(prompt="easy", scores={"a": 1.0}), Example(prompt="hard", scores={"a": 0.0})
    ]  # fmt: skip
    answers = arrange_answers(examples, CLASSIFIER)
    easy, hard = answers.scores[-2:, answers.models.index("b")].tolist()
    assert easy > 0.6 > 0.4 > hard
    assert not answers.is_recorded[-2:, 1].any()


def test_models_that_a_table_knows_count_as_measured() -> None:
    learned = LearnedExpectation(
        version="v", models=("a", "b"), quality=(0.8, 0.4), costs=(1.0, 0.1), best="a",
        price=0.1, is_known=False,
    )  # fmt: skip
    choice = LearnedChoice(learned, {"a": 0, "c": 1, "b": 2}, np.ones(3, dtype=np.bool_))
    half = np.full(3, 0.4)
    nobody = np.zeros(3, dtype=np.bool_)
    expected = choice.merge(
        Expected(mean=half, lower=half, has_evidence=nobody, guess_margin=find_guess_margin(nobody))
    )
    assert expected.has_evidence.tolist() == [True, False, True]
    assert expected.lower.tolist() == pytest.approx([0.8, 0.8, 0.4])
