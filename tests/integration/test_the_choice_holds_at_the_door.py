"""The choice of a model as people meet it: the command line and a running server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from devflow_claude_code.testing import TranscriptScript
from devflow_cli.testing import CommandResult, run_command
from devflow_sandbox.threaded import ThreadedSandbox
from integration.served import environment, upstream_of

OPUS = "anthropic/claude-opus-5"
ANOTHER = "fix it as agreed, please"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[ThreadedSandbox]:
    with ThreadedSandbox() as one:
        yield one


def run(home: Path, *arguments: str, **more: str) -> CommandResult:
    return run_command(*arguments, folder=home, environment=environment(home, **more))


def quality_of(explained: dict[str, Any], model: str) -> float:
    found = next(one for one in explained["candidates"] if one["model"] == model)
    return float(found["terms"]["quality"]) if found["terms"] else 0.0  # left out


def write_session(home: Path) -> Path:
    """A session that ran on an Opus newer than any list, below the home's Claude Code folder."""
    script = TranscriptScript()
    script.prompt("Refactor the importer so that it streams.")
    script.say("I will split it into a reader and a writer.", model="claude-opus-5-5")
    path = home / ".claude" / "projects" / "-home-dev-demo" / f"{script.rows[0]['sessionId']}.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in script.rows), encoding="utf-8")
    return path


def test_a_refactoring_that_ran_on_opus_goes_to_a_model_that_is_nearly_as_good(
    tmp_path: Path, sandbox: ThreadedSandbox
) -> None:
    session = str(write_session(tmp_path))
    given = {**upstream_of(sandbox), "DEVFLOW_COST_PRIORITY": "1"}
    handoff = ("handoff", session, "--prompt", ANOTHER, "--json=full")
    held = run(tmp_path, *handoff, **given)
    assert held.status == 0, held.err
    route = held.document["route"]
    assert "90% as good as" in route["candidates"][0]["reason"]
    freed = run(tmp_path, *handoff, "--floor", "0", **given)
    chosen, cheap = held.document["model"], freed.document["model"]
    # a hard question shows how far apart they are
    hard = "Prove that there are infinitely many primes congruent to 3 modulo 4."
    explained = run(tmp_path, "explain", hard, "--json=full", **given).document
    # the floor holds for coding, this is mathematics
    assert quality_of(explained, chosen) >= 0.75 * quality_of(explained, OPUS)
    assert quality_of(explained, cheap) < quality_of(explained, chosen)


@pytest.mark.parametrize("place", ["a network that is down", "a wrong key"])
def test_what_is_not_the_models_doing_moves_no_choice(
    tmp_path: Path, sandbox: ThreadedSandbox, place: str
) -> None:
    given = {**upstream_of(sandbox), "DEVFLOW_MAX_RETRIES": "1"}
    if place == "a wrong key":
        given["OPENROUTER_API_KEY"] = "sk-or-v1-of-nobody"
    else:  # an address of this machine on which nobody listens
        given["OPENROUTER_BASE_URL"] = "http://127.0.0.1:9/api/v1"

    def chain() -> list[str]:
        done = run(tmp_path, "explain", ANOTHER, "--json", **given)
        return [one["model"] for one in done.document["candidates"]]

    before = chain()
    for _ in range(3):
        assert run(tmp_path, "ask", ANOTHER, **given).status != 0
    assert chain() == before


def test_an_explanation_begins_with_three_lines(tmp_path: Path) -> None:
    done = run(tmp_path, "explain", "My pytest run hangs after the third test. How do I fix it?")
    lines = done.out.splitlines()
    assert [line.partition(" ")[0] for line in lines[:4]] == ["Task", "Choice", "Instead", "Change"]
    assert "better: " in lines[2]
    assert "from 0" in lines[3]
    recorded = json.loads(run(tmp_path, "explain", "Prove that 2 + 2 = 4.", "--json").out)[
        "alternatives"
    ]
    assert set(recorded) == {"next_better", "next_cheaper"}


def test_wishes_that_stand_for_nothing_are_named(tmp_path: Path) -> None:
    done = run(tmp_path, "doctor", OPENROUTER_PREFERRED_MODELS="gemini-pro,who/knows")
    assert "gemini-pro is google/gemini-" in done.out
    assert "who/knows is not a model of the catalogue" in done.out
    assert done.status == 1
