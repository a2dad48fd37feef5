"""Answers of `auto:verified` at the server, in every dialect, and on the command line."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from devflow_cli.testing import CommandResult, run_command
from devflow_sandbox.threaded import ThreadedSandbox
from integration.served import PATIENCE_S, Served, environment, serve, upstream_of

WRONG, RIGHT = "```python\nif:\n```", "```python\nx = 1\n```"
QUESTION = "Set x to 1 in Python."
CHAIN = "deepseek/deepseek-v3.2,openai/gpt-5-mini,anthropic/claude-haiku-4.5"
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": QUESTION}]},
    "/v1/messages": {
        "max_tokens": 500,
        "messages": [{"role": "user", "content": QUESTION}],
    },
    "/v1/responses": {"input": QUESTION},
}


def says(*texts: str) -> dict[str, Any]:
    return {"turns": [{"reply": {"text": one}} for one in texts]}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[ThreadedSandbox]:
    with ThreadedSandbox() as opened:
        yield opened


@pytest.fixture(scope="module")
def served(sandbox: ThreadedSandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("home")
    more = upstream_of(sandbox)
    with serve(home, DEVFLOW_VERIFY=f"touch,{home / 'ran'}", **more) as one:
        yield one


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=f"http://127.0.0.1:{served.port}",
        headers={"authorization": f"Bearer {served.first_key}"},
        timeout=PATIENCE_S,
    ) as opened:
        yield opened


def text_of(body: str) -> str:
    """Return all text of a body in any dialect, streamed or not."""
    pieces = re.findall(r'"(?:text|content|delta)":\s*("(?:[^"\\]|\\.)*")', body)
    return "".join(json.loads(one) for one in pieces)


def billed(sandbox: ThreadedSandbox, since: int) -> list[Decimal]:
    return [Decimal(one["cost_usd"]) for one in sandbox.bill()["calls"][since:]]


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("path", sorted(BODIES))
def test_only_the_accepted_answer_leaves_the_server(
    sandbox: ThreadedSandbox, client: httpx.Client, served: Served, path: str, is_stream: bool
) -> None:
    before = len(sandbox.bill()["calls"])
    sandbox.set_script(says(WRONG, RIGHT))
    body = {**BODIES[path], "model": "auto:verified", "stream": is_stream}
    reply = client.post(path, json=body)
    assert reply.status_code == 200, reply.text
    assert "x = 1" in text_of(reply.text)
    assert "if:" not in text_of(reply.text)
    assert reply.headers["x-devflow-check"] == "accepted by code, answer 2"
    assert reply.headers["x-devflow-attempts"] == "2"
    costs = billed(sandbox, before)
    assert len(costs) == 2
    assert reply.headers["x-devflow-model"] == sandbox.bill()["calls"][-1]["model"]
    entry_id = reply.headers["x-devflow-request-id"]
    shown = run_command(
        "explain", entry_id, "--json", folder=served.home, environment=environment(served.home)
    ).document
    checked = shown["verification"]
    assert [one["outcome"] for one in checked["steps"]] == ["refused", "accepted"]
    assert [Decimal(one["cost_usd"]) for one in checked["steps"]] == costs
    assert not (served.home / "ran").exists()  # the command of the settings is not for clients


def test_what_none_accepts_says_so(sandbox: ThreadedSandbox, client: httpx.Client) -> None:
    sandbox.set_script({"turns": [{"reply": {"text": WRONG}, "repeat": True}]})
    body = {**BODIES["/v1/chat/completions"], "model": "auto:verified"}
    reply = client.post("/v1/chat/completions", json=body)
    assert reply.status_code == 200
    assert reply.headers["x-devflow-check"].startswith("refused by code, answer ")
    assert reply.json()["devflow"]["check"] == reply.headers["x-devflow-check"]


def test_a_node_is_verified(sandbox: ThreadedSandbox, client: httpx.Client, served: Served) -> None:
    changed = client.patch("/system/nodes/subagent", json={"model": "auto:verified"})
    assert changed.status_code == 200, changed.text
    sandbox.set_script(says(WRONG, RIGHT))
    body = {**BODIES["/v1/chat/completions"], "model": "openai/gpt-5-mini"}
    headers = {"x-devflow-node": "subagent"}
    reply = client.post("/v1/chat/completions", json=body, headers=headers)
    assert reply.headers["x-devflow-check"] == "accepted by code, answer 2"
    refused = client.patch("/system/nodes/subagent", json={"verify": ["touch", "x"]})
    assert refused.status_code == 400


def test_a_command_in_a_request_is_refused(sandbox: ThreadedSandbox, client: httpx.Client) -> None:
    before = len(sandbox.bill()["calls"])
    for path, body in BODIES.items():
        asked = {**body, "model": "auto:verified", "verify": ["touch", "x"]}
        reply = client.post(path, json=asked)
        assert reply.status_code == 400
        assert "a server runs no command for a request" in reply.text
    assert len(sandbox.bill()["calls"]) == before


def test_a_stream_that_waits_for_its_checks_shows_life(tmp_path: Path) -> None:
    with ThreadedSandbox(ttft_s=2.5) as slow:
        slow.set_script(says(WRONG, RIGHT))
        with serve(tmp_path, **upstream_of(slow)) as one:
            body = {**BODIES["/v1/messages"], "model": "auto:verified", "stream": True}
            reply = one.ask("POST", "/v1/messages", body, key=one.first_key)
            text = reply.body.decode()
            assert text.index("event: ping") < text.index("message_start")
            assert "if:" not in text_of(text)
            assert "x = 1" in text_of(text)


def test_a_client_that_leaves_ends_the_escalation(tmp_path: Path) -> None:
    with ThreadedSandbox(ttft_s=2.0) as slow:
        slow.set_script({"turns": [{"reply": {"text": WRONG}, "repeat": True}]})
        with serve(tmp_path, **upstream_of(slow)) as one:
            body = {**BODIES["/v1/chat/completions"], "model": "auto:verified", "stream": True}
            raw = json.dumps(body).encode()
            headers = {"Authorization": f"Bearer {one.first_key}"}
            with one.connect() as link:
                link.sendall(one.head("POST", "/v1/chat/completions", headers, len(raw)) + raw)
                _wait_for(lambda: len(slow.bill()["calls"]) >= 2)
            _wait_for(lambda: _entries(one) != [])
            (entry,) = _entries(one)
            assert entry["outcome"] == "cancelled"
            assert len(slow.bill()["calls"]) == 2


def _entries(one: Served) -> list[dict[str, Any]]:
    done = one.devflow("ledger", "export")
    return [json.loads(line) for line in done.out.splitlines() if line.startswith("{")]


def _wait_for(condition: Any) -> None:
    pause = threading.Event()
    for _ in range(600):
        if condition():
            return
        pause.wait(0.1)
    raise AssertionError("it did not happen")


def ask(sandbox: ThreadedSandbox, home: Path, *arguments: str, **more: str) -> CommandResult:
    seen = {**environment(home, **upstream_of(sandbox)), "PATH": os.environ["PATH"], **more}
    return run_command("ask", QUESTION, *arguments, folder=home, environment=seen)


def test_the_command_runs_the_users_check(sandbox: ThreadedSandbox, tmp_path: Path) -> None:
    check = tmp_path / "check.py"
    check.write_text(
        "import sys\nprint('looked at it')\nsys.exit('y = 1' not in sys.stdin.read())\n"
    )
    sandbox.set_script(says(RIGHT, RIGHT.replace("x", "y")))
    before = len(sandbox.bill()["calls"])
    done = ask(sandbox, tmp_path, "--model", CHAIN, "--verify", f"{sys.executable} {check}")
    assert done.status == 0, done.err
    assert "y = 1" in done.out
    assert "x = 1" not in done.out
    assert "Check    deepseek/deepseek-v3.2: refused by command: it ended with 1" in done.err
    assert "looked at it" in done.err
    assert "Checked  openai/gpt-5-mini: accepted by command, answer 2" in done.err
    assert "Attempts 2 (deepseek/deepseek-v3.2: refused)" in done.err
    assert len(billed(sandbox, before)) == 2


def test_the_mode_takes_the_command_of_the_settings(
    sandbox: ThreadedSandbox, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    sandbox.set_script(says(RIGHT))
    done = ask(
        sandbox, tmp_path, "--model", "auto:verified", "--json", DEVFLOW_VERIFY=f"touch,{ran}"
    )
    assert done.status == 0, done.err
    assert ran.exists()
    assert done.document["route"]["verification"]["outcome"] == "accepted"
    shown = run_command(
        "explain", done.document["entry_id"], folder=tmp_path, environment=environment(tmp_path)
    )
    assert "Checked" in shown.out, shown.err
    assert "accepted by command" in shown.out


@pytest.mark.parametrize(
    ("verify", "told"),
    [
        ("'open", "No closing quotation"),
        ("", "give a command"),
        ("no-such-program-anywhere -q", "there is no program 'no-such-program-anywhere'"),
    ],
)
def test_a_command_that_cannot_be_is_told_before_anything_is_paid(
    sandbox: ThreadedSandbox, tmp_path: Path, verify: str, told: str
) -> None:
    before = len(sandbox.bill()["calls"])
    done = ask(sandbox, tmp_path, "--verify", verify)
    assert done.status != 0
    assert told in " ".join(done.err.replace("│", " ").split())
    assert len(sandbox.bill()["calls"]) == before


def test_a_folder_cannot_bring_a_command(sandbox: ThreadedSandbox, tmp_path: Path) -> None:
    folder = tmp_path / "cloned"
    folder.mkdir()
    (folder / "devflow.toml").write_text(f'verify = ["touch", "{tmp_path / "ran"}"]\n')
    sandbox.set_script(says(RIGHT))
    seen = {**environment(tmp_path, **upstream_of(sandbox)), "PATH": os.environ["PATH"]}
    done = run_command("ask", QUESTION, "--model", "auto:verified", folder=folder, environment=seen)
    assert done.status == 0, done.err
    assert not (tmp_path / "ran").exists()
