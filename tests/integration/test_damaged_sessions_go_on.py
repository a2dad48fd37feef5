"""`devflow` on sessions that are damaged, rare or lie elsewhere: what is left is used, and said."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from devflow_claude_code.reading.paths import project_slug
from devflow_cli.testing import CommandResult, run_command
from integration.doors import Catcher

FAULTY = Path(__file__).parents[2] / "packages/adapters/claude_code/tests/samples/faulty"
PROJECT = Path("/home/u/shop")
PATIENCE_S = 120

Command = Callable[..., CommandResult]


REPLY = {
    "id": "gen-1",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "Done."},
        }
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "cost": 0},
}


class RecordingUpstream(Catcher):
    """Answers chat completions, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(json.dumps(REPLY).encode())

    @property
    def bodies(self) -> list[dict[str, Any]]:
        asked = [one for one in self.requests if one.startswith("POST")]
        return [json.loads(one.rpartition("\n")[2]) for one in asked]


@pytest.fixture
def upstream() -> Iterator[RecordingUpstream]:
    with RecordingUpstream() as started:
        yield started


@pytest.fixture
def devflow(tmp_path: Path, upstream: RecordingUpstream) -> Command:
    """The command in a home of its own."""

    def run(*arguments: str, **more: str) -> CommandResult:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "COLUMNS": "200",
            "OPENROUTER_BASE_URL": upstream.base_url,
            "OPENROUTER_API_KEY": "sk-or-v1-of-this-test",
            **more,
        }
        return run_command(*arguments, folder=tmp_path, environment=environment)

    return run


def put(name: str, config_dir: Path) -> Path:
    """The last session of a sample folder, where Claude Code would have it."""
    source = max((FAULTY / name).glob("*.jsonl"))
    folder = config_dir / "projects" / project_slug(PROJECT)
    folder.mkdir(parents=True)
    path = folder / source.name
    path.write_bytes(source.read_bytes())
    return path


def pieces(messages: list[dict[str, Any]]) -> list[str]:
    """Who said what, in order; of calls and results their ids."""
    found: list[str] = []
    for message in messages:
        content = message.get("content") or ""
        parts = [{"text": content}] if isinstance(content, str) else content
        if message["role"] == "tool":
            found.append(f"result {message['tool_call_id']}")
        elif message["role"] != "system":
            found += [f"{message['role'][0]}: {part['text']}" for part in parts if part["text"]]
        found += [f"call {call['id']}" for call in message.get("tool_calls", ())]
    return found


HISTORIES = {
    "same_mid": [f"{who} {n}" for n in range(3) for who in ("u: question", "a: answer")],
    "phantom_parent": [
        *("u: GOAL: build the shop", "a: began", "u: second", "a: second done"),
        *("u: third", "a: third done"),
    ],
    "nul_line": [
        *("u: GOAL: build the shop", "a: began", "u: second", "u: third", "a: third done"),
    ],
    "two_on_line": ["u: GOAL", "a: began", "u: second", "a: done2"],
    "fork_two_files": ["u: x", "a: one", "u: y", "a: two"],
    "copied_history_cost": ["u: x", "a: one", "u: y", "a: two"],
}
DAMAGES = {
    "phantom_parent": ({"bridged_lines": {"count": 1, "lines": [5]}}, "line 5: parent row missing"),
    "nul_line": (
        {
            "unreadable_lines": {"count": 1, "lines": [4]},
            "bridged_lines": {"count": 1, "lines": [5]},
        },
        "line 4: could not be read",
    ),
    "two_on_line": ({"salvaged_lines": {"count": 1, "lines": [2]}}, "line 2: damaged"),
}


@pytest.mark.parametrize("name", HISTORIES)
def test_everything_that_is_left_is_handed_over_and_what_is_not_is_said(
    name: str, tmp_path: Path, devflow: Command, upstream: RecordingUpstream
) -> None:
    path = put(name, tmp_path / ".claude")
    done = devflow("handoff", path.stem, "--to", "z-ai/glm-5", "--no-stream", "--json")
    assert done.status == 0, done.err
    (body,) = upstream.bodies
    assert pieces(body["messages"])[: len(HISTORIES[name])] == HISTORIES[name]
    damage, words = DAMAGES.get(name, ({}, ""))
    assert json.loads(done.out)["handoff"]["damage"] == damage
    shown = devflow("sessions", "show", path.stem, "--json")
    assert json.loads(shown.out)["damage"] == damage
    for told in (done.err, devflow("sessions", "show", path.stem).out):
        assert words in told
    context = devflow("sessions", "context", path.stem)
    assert words in context.out
    assert HISTORIES[name][0].removeprefix("u: ") in context.out


def test_what_a_servers_tool_found_is_told_and_what_it_encrypted_is_not(
    tmp_path: Path, devflow: Command, upstream: RecordingUpstream
) -> None:
    path = put("server_tools", tmp_path / ".claude")
    done = devflow("handoff", path.stem, "--to", "z-ai/glm-5", "--no-stream", "--json")
    assert done.status == 0, done.err
    said = pieces(upstream.bodies[0]["messages"])
    words = "\n".join(said)
    for one in ("web_search", "query: q", "t (https://e.x", "found"):
        assert one in words
    assert "EEEE" not in words
    assert "1 × encrypted content of a server's tool" in done.err


def test_calls_that_begin_alike_are_two(
    tmp_path: Path, devflow: Command, upstream: RecordingUpstream
) -> None:
    path = put("long_tool_id", tmp_path / ".claude")
    done = devflow("handoff", path.stem, "--to", "z-ai/glm-5", "--no-stream", "--json")
    assert done.status == 0, done.err
    found = [one for one in pieces(upstream.bodies[0]["messages"]) if "call_" in one]
    (first, answered, second, answered_too) = found
    assert (answered, answered_too) == (
        first.replace("call ", "result "),
        second.replace("call ", "result "),
    )
    assert first != second
    assert json.loads(done.out)["handoff"]["left_out"] == []


def test_a_session_is_called_by_its_own_name(tmp_path: Path, devflow: Command) -> None:
    path = put("foreign_summary", tmp_path / ".claude")
    shown = devflow("sessions", "show", path.stem, "--json")
    assert json.loads(shown.out)["title"] == "GOAL real"


def test_a_session_belongs_to_the_folder_in_which_it_began(
    tmp_path: Path, devflow: Command
) -> None:
    path = put("subdir_cwd", tmp_path / ".claude")
    listed = devflow("sessions", "list", "--json")
    assert [one["project"] for one in json.loads(listed.out)["sessions"]] == [str(PROJECT)]
    handoff = ("handoff", path.stem, "--to", "z-ai/glm-5", "--no-stream", "--write-back")
    resume = json.loads(devflow(*handoff, "--json").out)["resume"]
    assert resume["cwd"] == str(PROJECT)
    assert Path(resume["path"]).parent == path.parent
    assert f"cd {PROJECT} && claude --resume" in devflow(*handoff).out
    entries = devflow("report", "--by", "project", "--format", "json")
    assert str(PROJECT / "api") not in entries.out
    assert str(PROJECT) in entries.out


@pytest.mark.parametrize("separator", [",", ":"])
def test_several_configuration_folders_are_explained(
    separator: str, tmp_path: Path, devflow: Command
) -> None:
    put("same_mid", tmp_path / "a")
    both = separator.join((str(tmp_path / "a"), str(tmp_path / "b")))
    listed = devflow("sessions", "list", CLAUDE_CONFIG_DIR=both)
    assert "names several folders" in listed.err
    checked = devflow("doctor", CLAUDE_CONFIG_DIR=both)
    assert "names several folders" in checked.out
    wanted = devflow("handoff", "latest", CLAUDE_CONFIG_DIR=both)
    assert wanted.status != 0
    assert "names several folders" in wanted.err


def test_sessions_in_the_other_usual_place_are_pointed_to(tmp_path: Path, devflow: Command) -> None:
    other = tmp_path / ".config" / "claude"
    put("same_mid", other)
    listed = devflow("sessions", "list")
    assert f"CLAUDE_CONFIG_DIR={other} shows them" in listed.err
    again = devflow("sessions", "list", "--json", CLAUDE_CONFIG_DIR=str(other))
    assert len(json.loads(again.out)["sessions"]) == 1
    assert again.err == ""


def test_a_project_folder_that_is_a_link_is_named(tmp_path: Path, devflow: Command) -> None:
    put("same_mid", tmp_path / "elsewhere")
    projects = tmp_path / ".claude" / "projects"
    projects.mkdir(parents=True)
    (projects / "-linked").symlink_to(tmp_path / "elsewhere/projects" / project_slug(PROJECT))
    listed = devflow("sessions", "list")
    assert "1 project folders are links" in listed.err
    assert "-linked" in listed.err


def test_a_huge_line_is_passed_over_with_a_word(tmp_path: Path, devflow: Command) -> None:
    path = put("phantom_parent", tmp_path / ".claude")
    with path.open("ab") as file:
        for _ in range(40):
            file.write(b'{"type":"user","x":"' + bytes(1 << 20))
        file.write(b"\n")
    shown = devflow("sessions", "context", path.stem)
    assert shown.status == 0, shown.err
    assert "GOAL: build the shop" in shown.out
    assert "line 7: longer than any request can be; skipped" in shown.out
