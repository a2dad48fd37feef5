"""What is learned from recorded answers, what a router makes of it, and how it is kept."""

from dataclasses import replace
from pathlib import Path

import pytest
from devflow_core.errors import ConfigurationError, InvalidRequest, NotFound
from devflow_core.request import ChatRequest
from devflow_core.routing import Candidate, Route, SelectionCriteria, TaskType
from devflow_openrouter.models.catalogue import load_shipped_catalogue
from devflow_routing import (
    LearnedFolder,
    LearnedTable,
    Ratings,
    Router,
    TaskClassifier,
    encode_route,
)
from devflow_routing.classifier.features import extract_features
from devflow_routing.learned.table_file import pack_table, unpack_table
from devflow_routing.training.answers import arrange_answers
from devflow_routing.training.evaluate import build_catalogue, judge_router
from devflow_routing.training.examples import Example, read_examples
from devflow_routing.training.train import MIN_PROMPTS, train

DEAR, CHEAP = "anthropic/claude-opus-4.5", "openai/gpt-5-mini"
KINDS: tuple[tuple[TaskType, float], ...] = (("coding", 0.0), ("knowledge", 1.0))
NOUNS = (
    *("clock", "river", "stone", "garden", "lamp", "window"),
    *("bridge", "letter", "engine", "forest", "harbour", "violin"),
)
CLASSIFIER = TaskClassifier()


def recorded_answers(count: int = 80) -> list[Example]:
    """Sums that the cheap model adds as well, and lemmas that only the dear one proves."""
    found: list[Example] = []
    for number in range(count):
        noun, other = NOUNS[number % 12], NOUNS[(number * 5 + 1) % 12]
        easy = f"Add up the bill for {number} pieces of {noun} and {other} from the shop list."
        hard = f"Prove the lemma {number} on the topology of a {noun} manifold and its {other}."
        costs = {DEAR: 0.02, CHEAP: 0.001}
        miss = float(number % 20 == 0)
        scores = {DEAR: 1.0 - miss, CHEAP: 1.0}
        found.append(Example(prompt=easy, scores=scores, costs_usd=costs, domain="bills"))
        proofs = {DEAR: 1.0, CHEAP: 0.0}
        found.append(Example(prompt=hard, scores=proofs, costs_usd=costs, domain="lemmas"))
    return found


@pytest.fixture(scope="module")
def table() -> LearnedTable:
    return train(recorded_answers(), classifier=CLASSIFIER, source="test")


def route(router: Router, prompt: str, **changes: object) -> Route:
    request = replace(ChatRequest.from_text(prompt, model="auto"), **changes)  # type: ignore[arg-type]
    return router.route(request, CLASSIFIER.classify(request))


EASY = "Add up the bill for 7 pieces of lamp and engine from the shop list."
HARD = "Prove the lemma 7 on the topology of a lamp manifold and its engine."


def test_the_cheap_model_answers_where_it_was_as_good(table: LearnedTable) -> None:
    router = Router(load_shipped_catalogue(), learned=table)
    easy, hard = route(router, EASY), route(router, HARD)
    assert (easy.chosen.model, hard.chosen.model) == (CHEAP, DEAR)
    assert "learned from your answers, bills" in easy.chosen.reason
    assert easy.snapshot["learned"] == table.version


def test_without_a_table_nothing_of_it_is_recorded() -> None:
    found = route(Router(load_shipped_catalogue()), EASY)
    assert "learned" not in found.snapshot
    assert "learned" not in found.features


def test_a_decision_is_replayed_without_the_table(table: LearnedTable) -> None:
    taken = route(Router(load_shipped_catalogue(), learned=table), HARD)
    again = Router(load_shipped_catalogue()).replay(encode_route(taken))
    assert again.chosen == taken.chosen
    assert again.snapshot["learned"] == table.version


def test_a_record_holds_no_word_of_the_prompt(table: LearnedTable) -> None:
    taken = route(Router(load_shipped_catalogue(), learned=table), EASY)
    assert taken.features["learned"]["is_known"]
    recorded = str(taken.features)
    assert not [word for word in EASY.split() if len(word) > 5 and word in recorded]


def test_less_is_paid_the_more_money_counts(table: LearnedTable) -> None:
    router = Router(load_shipped_catalogue(), learned=table)
    quality: list[int] = []
    for priority in (0.3, 0.5, 0.7, 0.9, 1.0):
        criteria = SelectionCriteria(cost_priority=priority)
        chosen: list[Candidate] = [
            route(router, one, criteria=criteria).chosen for one in (EASY, HARD)
        ]
        quality.append(sum(one.model == DEAR for one in chosen))
    assert quality == sorted(quality, reverse=True)
    assert quality[0] > 0


def test_a_best_model_that_is_not_listed_leaves_the_choice_to_evidence(
    table: LearnedTable,
) -> None:
    gone = replace(table, models=tuple({DEAR: "acme/gone"}.get(one, one) for one in table.models))
    general = Router(load_shipped_catalogue())
    assert route(Router(load_shipped_catalogue(), learned=gone), EASY).chosen.model == (
        route(general, EASY).chosen.model
    )


def test_a_prompt_unlike_everything_goes_by_kind(table: LearnedTable) -> None:
    poem = "Schreibe ein Gedicht über den Herbst, bitte, mit vier Strophen und Reimen."
    task = CLASSIFIER.classify(ChatRequest.from_text(poem))
    found = table.expect(extract_features(poem), task)
    assert found is None or not found.is_known


def test_what_is_less_like_than_the_gate_lets_pass_goes_by_kind(table: LearnedTable) -> None:
    task = CLASSIFIER.classify(ChatRequest.from_text(EASY))
    assert table.gate is not None
    closed = replace(table, gate=replace(table.gate, threshold=1e9))
    opened, shut = (one.expect(extract_features(EASY), task) for one in (table, closed))
    assert opened is not None
    assert opened.is_known
    assert shut is None or not shut.is_known


def test_no_choice_is_dearer_than_the_best_single_model(table: LearnedTable) -> None:
    answers = arrange_answers(recorded_answers(), CLASSIFIER)
    judged = judge_router(answers, learned=table, best=table.models[table.best])
    assert judged.quality_kept >= 0.99
    assert judged.saved > 0.3
    assert (judged.costs_usd <= judged.best_costs_usd + 1e-12).all()


def test_models_outside_the_catalogue_cost_what_was_recorded() -> None:
    answers = arrange_answers(recorded_answers(), CLASSIFIER)
    catalogue = build_catalogue(answers)
    prices = {one.id: one.price for one in catalogue.models}
    dear, cheap = prices[DEAR], prices[CHEAP]
    assert dear is not None
    assert cheap is not None
    assert dear.prompt == 20 * cheap.prompt


def test_the_same_examples_give_the_same_table(table: LearnedTable) -> None:
    again = train(recorded_answers(), classifier=CLASSIFIER, source="another", learned_at="now")
    assert again.version == table.version
    other = train(recorded_answers(79), classifier=CLASSIFIER)
    assert other.version != table.version


def test_a_packed_table_comes_back_as_it_was(table: LearnedTable) -> None:
    back = unpack_table(pack_table(table))
    assert back.version == table.version
    assert back.facts == table.facts
    task = CLASSIFIER.classify(ChatRequest.from_text(EASY))
    features = extract_features(EASY)
    assert back.expect(features, task) == table.expect(features, task)


def test_too_few_examples_are_an_error_that_says_how_many() -> None:
    few = recorded_answers(10)
    with pytest.raises(InvalidRequest, match=f"20 prompts .* {MIN_PROMPTS} prompts and 2 models"):
        train(few, classifier=CLASSIFIER)
    one_model = [replace(one, scores={DEAR: 1.0}) for one in recorded_answers()]
    with pytest.raises(InvalidRequest, match="answered by 1 models"):
        train(one_model, classifier=CLASSIFIER)


def test_without_prompts_the_coarse_table_alone_is_learned() -> None:
    examples = [
        Example(
            scores={model: score},
            costs_usd={model: cost},
            kind=kind,
            complexity="medium",
        )
        for _ in range(40)
        for kind, cheap in KINDS
        for model, score, cost in ((DEAR, 1.0, 0.02), (CHEAP, cheap, 0.001))
    ]
    learned = train(examples, classifier=CLASSIFIER)
    assert learned.heads is None
    task = replace(CLASSIFIER.classify(ChatRequest.from_text("x")), type="coding", text="")
    found = learned.expect(None, task)
    assert found is not None
    quality = dict(zip(found.models, found.quality, strict=True))
    assert quality[DEAR] > quality[CHEAP]
    assert learned.expect(None, replace(task, type="creative")) is None


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("nonsense", "it is not JSON"),
        ("[1]", "it is not an object"),
        ('{"prompt": "p", "score": 1}', "`model` is missing"),
        ('{"prompt": "p", "model": "m", "score": 2}', "`score` is not from 0 to 1"),
        ('{"prompt": "p", "model": "m", "score": true}', "`score` is not a number"),
        ('{"model": "m", "score": 1}', "`kind` is none of"),
        ('{"prompt": "p", "model": "m", "score": 1, "cost_usd": -1}', "`cost_usd` is not"),
        ('{"prompt": 7, "model": "m", "score": 1}', "`prompt` is not a text"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, wrong: str) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_text(f'{{"prompt": "p", "model": "m", "score": 1}}\n\n{line}\n')
    with pytest.raises(InvalidRequest, match="line 3") as error:
        read_examples(file)
    assert wrong in error.value.message


def test_lines_of_one_prompt_are_one_example(tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_text(
        '{"prompt": "p", "model": "a", "score": 1, "cost_usd": 0.5, "domain": "d"}\n'
        '{"prompt": "p", "model": "b", "score": 0}\n'
    )
    (found,) = read_examples(file)
    assert found == Example(
        prompt="p", scores={"a": 1.0, "b": 0.0}, costs_usd={"a": 0.5}, domain="d"
    )


def test_the_newest_table_is_in_use_until_it_is_undone(tmp_path: Path, table: LearnedTable) -> None:
    folder = LearnedFolder(tmp_path)
    assert folder.load() is None
    with pytest.raises(NotFound, match="routing train"):
        folder.undo()
    other = replace(table, price=0.5)
    folder.save(table)
    folder.save(other)
    assert [one.number for one in folder.list()] == [2, 1]
    loaded = folder.load()
    assert loaded is not None
    assert loaded.version == other.version
    gone, former = folder.undo()
    assert gone.version == other.version
    assert former is not None
    assert former.version == table.version
    assert (tmp_path / "learned").stat().st_mode & 0o777 == 0o700


def test_few_old_tables_are_kept(tmp_path: Path, table: LearnedTable) -> None:
    folder = LearnedFolder(tmp_path)
    for step in range(12):
        folder.save(replace(table, price=float(step)))
    assert [one.number for one in folder.list()] == list(range(12, 2, -1))


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 nonsense", b"x" * 1000])
def test_a_damaged_table_is_an_error_that_says_what_to_do(
    tmp_path: Path, table: LearnedTable, damage: bytes
) -> None:
    kept = LearnedFolder(tmp_path).save(table)
    kept.path.write_bytes(damage)
    with pytest.raises(ConfigurationError, match="routing undo"):
        LearnedFolder(tmp_path).load()
    whole = pack_table(table)
    kept.path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigurationError, match="routing undo"):
        LearnedFolder(tmp_path).load()


def test_the_last_rating_of_an_answer_counts(tmp_path: Path) -> None:
    ratings = Ratings(tmp_path)
    assert ratings.read() == {}
    ratings.add("req_1", 0.0)
    ratings.add("req_1", 1.0)
    ratings.path.write_bytes(ratings.path.read_bytes() + b'{"entry": "cut by a cra')
    assert ratings.read() == {"req_1": 1.0}
    with pytest.raises(ValueError, match=r"0\.\.1"):
        ratings.add("req_1", 2.0)
