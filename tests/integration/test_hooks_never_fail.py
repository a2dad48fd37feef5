"""What Claude Code runs by itself never fails and never waits long, whatever is broken."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.doors import Installation, SilentHost

STATUS = {"session_id": "s", "model": {"display_name": "Opus"}, "cost": {"total_cost_usd": 1.5}}
LINE = "DevFlow · Opus · $1.50 by Claude Code\n"
START = {"hook_event_name": "SessionStart", "source": "startup", "session_id": "new"}


@pytest.fixture
def user(tmp_path: Path) -> Installation:
    """Somebody whose DevFlow is about to be broken."""
    return Installation(home=tmp_path / "home", folder=tmp_path / "home" / "work")


def check(user: Installation, **environ: str) -> None:
    """Both are well: the hook says nothing, the line what it knows without our files."""
    start = json.dumps({**START, "cwd": str(user.folder)}).encode()
    hook = user.run("hook", stdin=start, environ=environ)
    assert (hook.returncode, hook.stdout) == (0, "")
    line = user.run("statusline", stdin=json.dumps(STATUS).encode(), environ=environ)
    assert (line.returncode, line.stdout) == (0, LINE)
    assert "Traceback" not in hook.stderr + line.stderr


@pytest.fixture
def silent_host() -> Iterator[SilentHost]:
    """A database that takes connections and never answers."""
    with SilentHost() as host:
        yield host


@pytest.mark.parametrize(
    "text", ["no_such_setting = 1", "port = ", "data_dir = 5", "log_level = 'loud'"]
)
def test_a_broken_file_of_the_folder_or_the_user(user: Installation, text: str) -> None:
    user.clone(text)
    user.configure(text)
    check(user)


def test_broken_variables(user: Installation) -> None:
    check(user, DEVFLOW_PORT="lots", DEVFLOW_ALIASES="x", DEVFLOW_BASE_URL="ftp://x")


def test_no_home(user: Installation) -> None:
    check(user, HOME="")


def test_a_database_that_does_not_answer(user: Installation, silent_host: SilentHost) -> None:
    check(user, DEVFLOW_LEDGER_URL=f"postgresql://x:y@127.0.0.1:{silent_host.port}/x")


def test_a_damaged_ledger_and_list_of_models(user: Installation) -> None:
    user.data_dir.mkdir(mode=0o700, parents=True)
    (user.data_dir / "ledger.db").write_bytes(b"no database " * 1000)
    (user.data_dir / "models.json").write_text("{")
    check(user)


def test_folders_in_the_place_of_files(user: Installation) -> None:
    for name in ("ledger.db", "models.json"):
        (user.data_dir / name).mkdir(mode=0o700, parents=True)
    (user.home / ".config" / "devflow" / "devflow.toml").mkdir(parents=True)
    check(user)


def test_a_data_folder_that_is_a_file(user: Installation) -> None:
    user.data_dir.parent.mkdir(parents=True)
    user.data_dir.write_text("")
    check(user)


@pytest.mark.parametrize(
    "event",
    [
        {**START, "cwd": "/home/dev\0/demo"},
        {**START, "cwd": "/" + "x" * 5000},
        {**START, "cwd": "\ud800"},
        {"hook_event_name": "Stop", "transcript_path": "/a\0b.jsonl"},
        {"hook_event_name": "SessionEnd", "transcript_path": "/" + "y/" * 3000},
        {"session_id": "\0", "transcript_path": "\0", "model": {"id": "\ud800"}},
        "text",
    ],
)
def test_events_that_no_client_sends(user: Installation, event: object) -> None:
    for command in ("hook", "statusline"):
        done = user.run(command, stdin=json.dumps(event).encode())
        assert done.returncode == 0
        assert "Traceback" not in done.stderr
        assert done.stdout == "" if command == "hook" else done.stdout.startswith("DevFlow")


def test_a_pipe_in_the_place_of_a_transcript(user: Installation, tmp_path: Path) -> None:
    import os

    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    event = {"hook_event_name": "Stop", "transcript_path": str(pipe)}
    for command in ("hook", "statusline"):
        assert user.run(command, stdin=json.dumps(event).encode()).returncode == 0
