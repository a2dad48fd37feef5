"""`devflow routing`: learning from a file or from rated answers, judging, showing, undoing."""

import json
from pathlib import Path

import pytest
from devflow_cli.testing import Devflow

DEAR, CHEAP = "anthropic/claude-opus-4.5", "openai/gpt-5-mini"
NOUNS = ("clock", "river", "stone", "garden", "lamp", "window", "bridge", "letter")


@pytest.fixture
def file(home: Path) -> Path:
    """Recorded answers: bills that the cheap model adds up as well, lemmas that it cannot prove."""
    lines: list[str] = []
    for number in range(80):
        noun = NOUNS[number % 8]
        bill = f"Add up the bill for {number} pieces of {noun} from the shop list."
        lemma = f"Prove the lemma {number} on the topology of a {noun} manifold."
        for prompt, cheap, domain in ((bill, 1.0, "bills"), (lemma, 0.0, "lemmas")):
            dear = 0.0 if domain == "bills" and number % 6 == 0 else 1.0
            for model, score, cost in ((DEAR, dear, 0.02), (CHEAP, cheap, 0.001)):
                row = {"prompt": prompt, "model": model, "score": score}
                lines.append(json.dumps({**row, "cost_usd": cost, "domain": domain}))
    path = home / "answers.jsonl"
    path.write_text("\n".join(lines))
    return path


BILL = "Add up the bill for 9 pieces of lamp from the shop list."


def test_what_was_learned_decides_until_it_is_undone(devflow: Devflow, file: Path) -> None:
    before = devflow("explain", BILL, "--json").document
    learned = devflow("routing", "train", "--from", str(file), "--json").document
    assert (learned["best"], learned["reads_words"]) == (DEAR, True)
    assert learned["saved"] > 0.3
    explained = devflow("explain", BILL).out
    assert f"Learned   table {learned['version']}: the prompt is like bills" in explained
    document = devflow("explain", BILL, "--json=full").document
    assert document["candidates"][0]["model"] == CHEAP
    assert document["snapshot"]["learned"] == learned["version"]
    assert "keeps" in devflow("routing", "show").out
    assert learned["version"] in devflow("doctor").out
    assert devflow("routing", "undo", "--json").document == {
        "undone": learned["version"],
        "in_use": None,
    }
    assert devflow("explain", BILL, "--json").document == before
    assert "Nothing was learned" in devflow("routing", "show").out
    assert devflow("routing", "undo").status == 1


def test_a_table_without_words_does_not_blame_the_number_of_prompts_alone(
    devflow: Devflow, file: Path
) -> None:
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    # the dear model alone is ever right, so that no choice saves anything
    scored = [{**row, "score": float(row["model"] == DEAR)} for row in rows]
    file.write_text("\n".join(json.dumps(row) for row in scored))
    learned = devflow("routing", "train", "--from", str(file), "--json").document
    assert (learned["reads_words"], learned["saved"], learned["prompts"]) == (False, 0.0, 160)
    assert "or choices by their words save nothing" in devflow("routing", "show").out


def test_a_file_is_judged_with_and_without_a_table(devflow: Devflow, file: Path) -> None:
    alone = devflow("routing", "evaluate", str(file), "--json").document
    assert [row["choice"] for row in alone["rows"]] == [
        "the best single model",
        "auto without a learned table",
    ]
    folds = devflow("routing", "evaluate", str(file), "--folds", "3", "--json").document
    best, _general, learned = folds["rows"]
    assert best["quality_kept"] == 1.0
    assert learned["quality_kept"] >= 0.95
    assert learned["saved"] > 0.1
    assert "Quality kept" in devflow("routing", "evaluate", str(file)).out


def test_too_few_labels_say_how_many_are_needed(devflow: Devflow, home: Path) -> None:
    few = home / "few.jsonl"
    few.write_text(json.dumps({"prompt": "p", "model": DEAR, "score": 1}))
    done = devflow("routing", "train", "--from", str(few))
    assert done.status != 0
    assert "50 prompts and 2 models are needed" in done.err
    assert devflow("routing", "show", "--json").document == {"in_use": None, "kept": []}


def test_models_that_are_not_listed_are_named(devflow: Devflow, file: Path) -> None:
    file.write_text(file.read_text().replace(CHEAP, "acme/own-model"))
    done = devflow("routing", "train", "--from", str(file))
    assert "Not in the list of models, and left out: acme/own-model." in done.err
    assert "answered by 1 models" in done.err


def test_a_damaged_table_is_found_by_the_doctor_and_stops_nothing(
    devflow: Devflow, file: Path, home: Path
) -> None:
    assert devflow("routing", "train", "--from", str(file)).status == 0
    (kept,) = home.glob("**/learned/*.npz")
    kept.write_bytes(b"not a table")
    assert devflow("explain", BILL).status == 0
    assert "FAIL  learned: not used" in devflow("doctor").out
    assert devflow("routing", "undo").status == 0


def test_ratings_are_what_a_ledger_is_learned_from(online: Devflow) -> None:
    ids: list[str] = []
    for number in range(2):
        asked = online("ask", f"Write a haiku about clock {number}.", "--json=full").document
        ids.append(asked["entry_id"])
    refused = online("routing", "train")
    assert "The ledger holds 0 rated answers; 50 are needed" in refused.err
    assert "2 others succeeded says nothing" in refused.err
    assert online("routing", "rate", ids[0], "0.5").status == 0
    assert "The ledger holds 1 rated answers" in online("routing", "train").err
    assert online("routing", "rate", "req_unknown", "1").status != 0
    assert online("routing", "rate", ids[0], "2").status == 2
