"""A table that `devflow routing train` learns decides at a server that was started before."""

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from devflow_sandbox.threaded import ThreadedSandbox
from integration.living import until
from integration.served import Served, serve

DEAR, CHEAP = "anthropic/claude-opus-4.5", "openai/gpt-5-mini"
NOUNS = ("clock", "river", "stone", "garden", "lamp", "window", "bridge", "letter")
NUMBERS = count(100)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with ThreadedSandbox() as sandbox:
        upstream = {
            "OPENROUTER_BASE_URL": sandbox.base_url,
            "OPENROUTER_API_KEY": sandbox.api_key,
        }
        with serve(tmp_path, **upstream) as running:
            yield running


def write_answers(path: Path) -> Path:
    """Bills that the cheap model adds up as well, and lemmas that it cannot prove."""
    rows: list[dict[str, object]] = []
    for number in range(80):
        noun = NOUNS[number % 8]
        bill = f"Add up the bill for {number} pieces of {noun} from the shop list."
        lemma = f"Prove the lemma {number} on the topology of a {noun} manifold."
        for prompt, cheap, domain in ((bill, 1.0, "bills"), (lemma, 0.0, "lemmas")):
            for model, score, cost in ((DEAR, 1.0, 0.02), (CHEAP, cheap, 0.001)):
                row = {"prompt": prompt, "model": model, "score": score, "cost_usd": cost}
                rows.append({**row, "domain": domain})
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def ask(served: Served, prompt: str) -> str:
    """Return the model that the server chose for a prompt."""
    messages = [{"role": "user", "content": prompt}]
    reply = served.ask(
        "POST",
        "/v1/chat/completions",
        {"model": "auto", "messages": messages, "max_tokens": 64},
        key=served.first_key,
    )
    assert reply.status == 200, reply.body
    return reply.headers["x-devflow-model"]


def ask_for_bill(served: Served) -> str:
    return ask(served, f"Add up the bill for {next(NUMBERS)} pieces of lamp from the shop list.")


def test_a_table_that_is_learned_and_undone_decides_soon(served: Served, tmp_path: Path) -> None:
    assert ask_for_bill(served) != CHEAP
    answers = write_answers(tmp_path / "answers.jsonl")
    learned = served.devflow("routing", "train", "--from", str(answers), "--json")
    assert learned.status == 0, learned.err
    until(lambda: ask_for_bill(served) == CHEAP, "the learned table decides")
    assert ask(served, "Prove the lemma 7 on the topology of a lamp manifold.") == DEAR
    assert served.devflow("routing", "undo").status == 0
    until(lambda: ask_for_bill(served) != CHEAP, "the table was undone")
