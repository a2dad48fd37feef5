"""Coding agents work through the gateway, with their own tools and settings."""

import json
import signal
import subprocess
import time
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pytest
from clients.agents import (
    AGENTS,
    SMALL,
    Agent,
    MakeAgent,
    Wish,
    aider_stream,
    codex,
    opencode_chat,
    opencode_messages,
    qwen_code,
)
from clients.matrix import (
    CLIENT_TIMEOUT_S,
    FLAG,
    JOB,
    JOB_DONE,
    LOOK_S,
    MAX_LOOKS,
    MODELS,
    PAIR,
    PAIR_DONE,
    PROMPTS,
    SEEN,
    TEXT,
    Door,
)
from devflow_sandbox.replies.picture import make_png

BEGUN_LOOKS = 10
PATIENCE_S = 2
"""For an agent that was interrupted to end by itself, before it is killed."""
MAIN = MODELS["openai"]["main"]
BLIND = "z-ai/glm-5"

FAILURES = {
    "wrong key": (Wish(JOB, key="wrong"), "unknown, revoked or expired"),
    "spent budget": (Wish(JOB, key="poor"), "key:poor:month"),
    "overload": (Wish(JOB, model=MODELS["openai"]["down"]), "503"),
}
"""What goes wrong, and words of the gateway that have to reach the screen."""


def each(*agents: MakeAgent) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("make", agents, ids=lambda make: make.__name__)


every_agent = each(*AGENTS)
without_a_shell = [one for one in AGENTS if "aider" in one.__name__]
with_a_shell = [one for one in AGENTS if one not in without_a_shell]
each_program = (codex, opencode_chat, aider_stream, qwen_code)
"""One way of each program to ask, for what does not depend on the way."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with nothing in it but the folder that the agent works in."""
    (tmp_path / "work").mkdir()
    return tmp_path


def _run(make: MakeAgent, door: Door, home: Path, wish: Wish) -> tuple[int, str, str]:
    with make(door, home, wish).start(home) as agent:
        try:
            told, noise = agent.communicate(timeout=CLIENT_TIMEOUT_S)
        finally:
            agent.kill()
    return agent.returncode, told, noise


def _check_books(door: Door, since: int) -> list[dict[str, str]]:
    bill = door.bill(since)
    assert door.ledger(since) == {call["generation_id"]: Decimal(call["cost_usd"]) for call in bill}
    return bill


@each(*without_a_shell)
def test_a_file_is_written_and_the_end_is_told(make: MakeAgent, door: Door, home: Path) -> None:
    since = door.count_bill()
    status, told, noise = _run(make, door, home, Wish(JOB))
    assert status == 0, told[-2000:] + noise[-4000:]
    assert (home / "work" / "flag.py").read_text() == FLAG
    assert JOB_DONE in told
    bill = _check_books(door, since)
    assert {call["model"] for call in bill} == {MAIN}


@each(*with_a_shell)
def test_two_commands_of_one_turn_are_both_run_and_the_end_is_told(
    make: MakeAgent, door: Door, home: Path
) -> None:
    since = door.count_bill()
    status, told, noise = _run(make, door, home, Wish(PAIR))
    assert status == 0, told[-2000:] + noise[-4000:]
    for file in ("flag.py", "second.py"):
        assert (home / "work" / file).read_text() == FLAG
    assert PAIR_DONE in told
    bill = _check_books(door, since)
    assert {call["model"] for call in bill} <= {MAIN, SMALL}
    costs = [Decimal(call["cost_usd"]) for call in bill if call["model"] == MAIN]
    assert len(costs) == 2
    if "opencode" in make.__name__:  # the only one that is told prices and shows an amount
        lines = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
        ends = [line["part"]["cost"] for line in lines if line["type"] == "step_finish"]
        assert sum(Decimal(str(one)) for one in ends) == sum(costs) > 0


def test_codex_learns_what_to_set_to_work_under_a_budget(door: Door, home: Path) -> None:
    def without_search(door: Door, home: Path, wish: Wish) -> Agent:
        agent = codex(door, home, wish)
        settings = home / ".codex" / "config.toml"
        settings.write_text(f'web_search = "disabled"\n{settings.read_text()}')
        return agent

    wish = Wish(PAIR, key="limited")
    _, told, noise = _run(codex, door, home, wish)
    assert "leaves the tool out with web_search" in told + noise
    status, told, noise = _run(without_search, door, home, wish)
    assert status == 0, told[-2000:] + noise[-4000:]
    assert PAIR_DONE in told


@each(*with_a_shell, aider_stream)
def test_an_image_arrives(make: MakeAgent, door: Door, home: Path) -> None:
    since = door.count_bill()
    image = home / "work" / "picture.png"
    image.write_bytes(make_png("red"))
    status, told, noise = _run(make, door, home, Wish(PROMPTS["image"], image=image))
    assert status == 0, told[-2000:] + noise[-4000:]
    assert SEEN in told
    _check_books(door, since)


# the first sends the image as a message of its own, the second in one with what is asked later
@each(codex, opencode_messages)
def test_a_session_goes_on_after_an_image_that_was_refused(
    make: MakeAgent, door: Door, home: Path
) -> None:
    image = home / "work" / "picture.png"
    image.write_bytes(make_png("red"))
    asked = Wish(PROMPTS["image"], model=BLIND, image=image)
    _, told, noise = _run(make, door, home, asked)
    assert "cannot take images" in told + noise
    since = door.count_bill()
    later = Wish(PROMPTS["text"], model=BLIND, is_resumed=True)
    status, told, noise = _run(make, door, home, later)
    assert status == 0, told[-2000:] + noise[-4000:]
    assert TEXT.partition(" ")[0] in told
    assert BLIND in {call["model"] for call in _check_books(door, since)}


@pytest.mark.parametrize(
    ("make", "failure"),
    [
        *((make, "wrong key") for make in each_program),
        # the others repeat these for minutes, whatever the answer says of that
        *((make, name) for make in (codex, opencode_chat) for name in ("spent budget", "overload")),
    ],
    ids=lambda one: one if isinstance(one, str) else one.__name__,
)
def test_a_failure_is_told(make: MakeAgent, door: Door, home: Path, failure: str) -> None:
    wish, words = FAILURES[failure]
    since = door.count_bill()
    _, told, noise = _run(make, door, home, wish)
    assert words in " ".join((told + noise).split())
    answered = {call["model"] for call in _check_books(door, since)}
    assert answered <= {SMALL}  # titles are made beside the work


@every_agent
def test_leaving_ends_the_call_at_the_provider(make: MakeAgent, door: Door, home: Path) -> None:
    since = door.count_bill()
    slow = MODELS["openai"]["slow"]
    with make(door, home, Wish(PROMPTS["leave"], model=slow)).start(home) as agent:
        try:
            _wait_for_call(door, since, slow)
            agent.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):  # not every one ends at once
                agent.communicate(timeout=PATIENCE_S)
        finally:
            agent.kill()
    bill = _check_books(door, since)
    assert [call["outcome"] for call in bill if call["model"] == slow] == ["cancelled"]


def _wait_for_call(door: Door, since: int, model: str) -> None:
    """Wait until a reply of the model is under way, and has been for some pieces of it."""
    looks_on_it = 0
    for _ in range(MAX_LOOKS):
        calls = door.sandbox.bill()["calls"][since:]
        looks_on_it += any(one["model"] == model for one in calls)
        if looks_on_it == BEGUN_LOOKS:
            return
        time.sleep(LOOK_S)
    pytest.fail("the agent does not ask")
