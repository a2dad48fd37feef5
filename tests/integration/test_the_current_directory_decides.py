"""The sessions, labels and tools of a command are those of the project it is run in."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from devflow_claude_code import ClaudeCodeSession
from devflow_claude_code.reading.paths import project_slug
from devflow_core.errors import SessionError
from devflow_core.repository import find_repository
from devflow_core.request import ChatRequest
from devflow_core.settings import Settings
from devflow_gateway import open_gateway
from devflow_sandbox import Sandbox
from devflow_server import run_gateway

TIMEOUT_S = 60
MODEL = "anthropic/claude-haiku-4.5"
Run = Callable[..., subprocess.CompletedProcess[str]]


class Home:
    """A home with projects, repositories, sessions, and the installed command."""

    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        self.folder = folder
        self.claude_dir = folder / ".claude"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "COLUMNS": "200",
            "OPENROUTER_API_KEY": sandbox.api_key,
            "OPENROUTER_BASE_URL": sandbox.base_url,
        }

    def project(self, name: str) -> Path:
        folder = self.folder / "src" / name
        folder.mkdir(parents=True)
        return folder

    def repository(self, name: str) -> Path:
        folder = self.project(name)
        git(folder, "init", "-q", "-b", "main")
        git(folder, "commit", "-q", "--allow-empty", "-m", "first")
        return folder

    def session(self, project: Path, number: int, prompt: str, *, at: str) -> str:
        """A session of one question and its answer; returns its id."""
        session_id = f"{number:08d}-2222-4333-8444-555555555555"
        common = {"sessionId": session_id, "cwd": str(project), "version": "2.1.197"}
        question: dict[str, Any] = {
            "type": "user", "uuid": f"q{number}", "parentUuid": None, "timestamp": f"{at}:00.000Z",
            "message": {"role": "user", "content": prompt}, **common,
        }  # fmt: skip
        answer: dict[str, Any] = {
            "type": "assistant", "uuid": f"a{number}", "parentUuid": f"q{number}",
            "timestamp": f"{at}:01.000Z", **common,
            "message": {"id": f"msg_{number}", "role": "assistant", "model": "claude-haiku-4-5",
                        "content": [{"type": "text", "text": f"About {prompt}"}],
                        "usage": {"input_tokens": 5, "output_tokens": 5}},
        }  # fmt: skip
        folder = self.claude_dir / "projects" / project_slug(project)
        folder.mkdir(parents=True, exist_ok=True)
        lines = f"{json.dumps(question)}\n{json.dumps(answer)}\n"
        (folder / f"{session_id}.jsonl").write_text(lines)
        return session_id

    def run(self, where: Path, *arguments: str, stdin: str = "") -> Any:
        return subprocess.run(
            [sys.executable, "-m", "devflow_cli", *arguments],
            cwd=where,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )

    def entries(self) -> list[dict[str, Any]]:
        """What the ledger holds."""
        lines = self.run(self.folder, "ledger", "export").stdout.splitlines()
        return [json.loads(line) for line in lines]


def git(folder: Path, *arguments: str) -> str:
    identity = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.com"}
    identity |= {"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.com"}
    environment = {**identity, "PATH": os.environ["PATH"], "HOME": str(folder)}
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT_S,
    )
    return done.stdout.strip()


@pytest.fixture
def home(tmp_path: Path, openrouter_sandbox: Sandbox) -> Home:
    return Home(tmp_path, openrouter_sandbox)


@pytest.fixture
def two(home: Home) -> tuple[Path, Path]:
    """Two projects; the second one's session is the latest of all."""
    ours, theirs = home.project("ours"), home.project("theirs")
    home.session(ours, 1, "our sums", at="2026-11-01T10:00")
    home.session(theirs, 2, "their secret", at="2026-11-02T10:00")
    return ours, theirs


@pytest.mark.parametrize(
    "command",
    [
        ("handoff", "--json"),
        ("sessions", "show"),
        ("sessions", "context"),
        ("whatif", "latest"),
        ("ask", "Go on.", "--session", "latest", "--json"),
    ],
    ids=" ".join,
)
def test_the_latest_session_is_that_of_this_project(
    home: Home, two: tuple[Path, Path], command: tuple[str, ...]
) -> None:
    ours, theirs = two
    done = home.run(ours, *command)
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert "our sums" in said
    assert "their secret" not in said
    by_name = home.run(ours, *command, "--project", str(theirs))
    assert "their secret" in by_name.stdout + by_name.stderr
    assert "our sums" not in by_name.stdout + by_name.stderr


def test_what_is_sent_is_named_before(home: Home, two: tuple[Path, Path]) -> None:
    ours, _ = two
    home.environment["OPENROUTER_BASE_URL"] = "http://127.0.0.1:9/api/v1"
    done = home.run(ours, "handoff")
    assert done.returncode == 5
    assert f"of {ours}, last message 2026-11-01 10:00 UTC: our sums" in done.stderr


@pytest.mark.parametrize("command", [("handoff",), ("sessions", "show"), ("whatif", "latest")])
def test_without_a_session_the_choices_are_named(
    home: Home, two: tuple[Path, Path], command: tuple[str, ...]
) -> None:
    elsewhere = home.project("elsewhere")
    done = home.run(elsewhere, *command)
    assert done.returncode == 1
    assert f"There is no session of {elsewhere}" in done.stderr
    for project in two:
        assert str(project) in done.stderr
    assert home.entries() == []


def test_the_latest_is_the_one_with_the_latest_message(home: Home) -> None:
    ours = home.project("ours")
    old = home.session(ours, 1, "of old", at="2026-11-01T10:00")
    home.session(ours, 2, "of late", at="2026-11-02T10:00")
    touched = home.claude_dir / "projects" / project_slug(ours) / f"{old}.jsonl"
    changed_s = touched.stat().st_mtime + 60  # as a copy from a backup does
    os.utime(touched, (changed_s, changed_s))
    assert "of late" in home.run(ours, "sessions", "show").stdout


def test_a_folder_of_a_repository_has_the_sessions_of_its_root(home: Home) -> None:
    ours = home.repository("ours")
    home.session(ours, 1, "our sums", at="2026-11-01T10:00")
    below = ours / "api" / "v1"
    below.mkdir(parents=True)
    assert "our sums" in home.run(below, "sessions", "show").stdout
    with pytest.raises(SessionError, match="There is no session of"):
        ClaudeCodeSession.latest(home.folder, config_dir=home.claude_dir)


def test_a_question_is_booked_on_the_repository_its_branch_and_commit(home: Home) -> None:
    ours = home.repository("ours")
    below = ours / "api"
    below.mkdir()
    tree = home.folder / "tree"
    git(ours, "worktree", "add", "-q", "-b", "feature/one", str(tree))
    for where in (below, tree):
        assert home.run(where, "ask", "Hello.", "--model", MODEL).returncode == 0
    assert home.run(home.folder, "ask", "Hello.", "--model", MODEL).returncode == 0
    named = home.run(ours, "ask", "Hello.", "--model", MODEL, "--project", "shop")
    assert named.returncode == 0
    labels = [one["attribution"] for one in home.entries()]
    commit = git(ours, "rev-parse", "HEAD")
    assert [one["project"] for one in labels] == [str(ours), str(ours), str(home.folder), "shop"]
    assert [one["branch"] for one in labels] == ["main", "feature/one", None, None]
    assert [one["commit"] for one in labels] == [commit, commit, None, None]
    report = home.run(ours, "report", "--by", "project", "--format", "csv").stdout
    assert str(ours) in report
    assert "shop" in report


@pytest.mark.parametrize("named", [(), ("--value", ".."), ("--value", "*")], ids=str)
def test_a_budget_of_the_project_holds_for_a_question(home: Home, named: tuple[str, ...]) -> None:
    ours = home.repository("ours")
    limit = ("--limit", "0.0000001", "--window", "day")
    below = ours / "api"
    below.mkdir()
    made = home.run(below, "budget", "set", "--scope", "project", *limit, *named)
    assert made.returncode == 0, made.stderr
    assert home.run(ours, "ask", "Hello.", "--model", MODEL).returncode == 4
    elsewhere = home.run(home.folder, "ask", "Hello.", "--model", MODEL)
    assert elsewhere.returncode == (4 if "*" in named else 0)


def test_a_folder_that_is_not_there_is_no_project(home: Home) -> None:
    done = home.run(home.folder, "ask", "Hello.", "--project", "./nowhere")
    assert done.returncode == 2
    assert "there is no folder" in done.stderr


async def test_python_books_on_the_repository_of_its_folder(
    home: Home, openrouter_sandbox: Sandbox
) -> None:
    ours = home.repository("ours")
    settings = Settings.load(
        {"HOME": str(home.folder)},
        api_key=openrouter_sandbox.api_key,
        base_url=openrouter_sandbox.base_url,
    )
    async with open_gateway(settings, folder=ours) as gateway:
        done = await gateway.complete(ChatRequest.from_text("Hello.", model=MODEL))
    labels = done.entry.attribution
    assert (labels.project, labels.branch) == (str(ours), "main")


async def test_the_server_books_on_what_its_client_says(
    home: Home, openrouter_sandbox: Sandbox
) -> None:
    import httpx

    settings = Settings.load(
        {"HOME": str(home.folder)},
        api_key=openrouter_sandbox.api_key,
        base_url=openrouter_sandbox.base_url,
        port=0,
    )
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello."}], "max_tokens": 9}
    headers = {"Authorization": "Bearer devflow_of_this_run_only_0123456789"}
    labels = {
        "X-DevFlow-Project": "shop",
        "X-DevFlow-Branch": "fix/1",
        "X-DevFlow-Commit": "0abc123",
    }
    async with (
        run_gateway(settings, local_key=headers["Authorization"][7:]) as server,
        httpx.AsyncClient(base_url=server.url, headers=headers, timeout=TIMEOUT_S) as client,
    ):
        for more in (labels, {}, {"X-DevFlow-Commit": "not a commit"}):
            answer = await client.post("/v1/chat/completions", json=body, headers=more)
            assert answer.status_code == 200
    booked = [one["attribution"] for one in home.entries()]
    assert [one["project"] for one in booked] == ["shop", None, None]
    assert [one["branch"] for one in booked] == ["fix/1", None, None]
    assert [one["commit"] for one in booked] == ["0abc123", None, None]


class Mcp:
    """`devflow mcp` in a folder, asked line by line."""

    def __init__(self, home: Home, where: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "devflow_cli", "mcp"],
            cwd=where,
            env=home.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._number = 0

    def call(self, tool: str, **arguments: str) -> tuple[str, bool]:
        """The text that a tool answers with, and whether it is an error."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._number += 1
        params = {"name": tool, "arguments": arguments}
        message = {"jsonrpc": "2.0", "id": self._number, "method": "tools/call", "params": params}
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            return answer["error"]["message"], True
        return answer["result"]["content"][0]["text"], answer["result"]["isError"]

    def end(self) -> int:
        self._process.communicate(timeout=TIMEOUT_S)
        return self._process.returncode


def test_the_mcp_tools_take_sessions_of_this_project_by_id_only(
    home: Home, two: tuple[Path, Path]
) -> None:
    ours, theirs = two
    path = next((home.claude_dir / "projects" / project_slug(theirs)).iterdir())
    mcp = Mcp(home, ours)
    for tool, more in (("ask", {"prompt": "Go on."}), ("handoff", {})):
        text, is_error = mcp.call(tool, session="latest", **more)
        assert not is_error, text
        assert "our sums" in text
        assert str(ours) in text
        for session in (str(path), f"../{path.parent.name}/{path.name}", path.stem, "00000002"):
            text, is_error = mcp.call(tool, session=session, **more)
            assert is_error
            assert "their secret" not in text
    assert mcp.end() == 0
    assert [one["attribution"]["project"] for one in home.entries()] == [str(ours)] * 2


def test_a_wrong_argument_does_not_end_the_mcp_server(home: Home, two: tuple[Path, Path]) -> None:
    mcp = Mcp(home, two[0])
    wrong: list[tuple[str, dict[str, str]]] = [
        ("report", {"since": "yesterday"}),
        ("report", {"by": "colour"}),
        ("report", {"since": "99999d"}),
        ("report", {"since": "0001-01-01T00:00+23:59"}),
        ("handoff", {"session": "\ud800"}),
        ("handoff", {"model": "nobody/nothing"}),
        ("ask", {"prompt": "Hello.", "model": "\x00"}),
        ("ask", {"prompt": "\ud800", "model": MODEL}),
        ("explain", {"prompt": "\ud800"}),
        ("report", {"until": "now"}),
        ("nothing", {}),
    ]
    for tool, arguments in wrong:
        text, _ = mcp.call(tool, **arguments)
        assert text
    text, is_error = mcp.call("report")
    assert not is_error, text
    assert mcp.end() == 0


def test_no_program_of_a_repository_is_run_and_no_other_repository_is_taken(home: Home) -> None:
    ours = home.repository("ours")
    mark = home.folder / "mark"
    git(ours, "config", "core.fsmonitor", f"touch {mark}")
    assert home.run(ours, "ask", "Hello.", "--model", MODEL).returncode == 0
    assert not mark.exists()
    stranger = home.project("stranger")
    (stranger / ".git").write_text(f"gitdir: {ours}/.git\n")
    found = find_repository(stranger)
    assert found is not None
    assert found.folder == stranger


@pytest.mark.parametrize(
    ("head", "branch", "commit"),
    [
        (b"ref: refs/heads/topic/\xc3\xa4\n", "topic/ä", None),
        (b"f" * 40 + b"\n", None, "f" * 40),
        (b"ref: refs/heads/../../secret\n", None, None),
        (b"ref: refs/heads/a b\n", None, None),
        (b"\xff\xfe\x00", None, None),
        (b"", None, None),
    ],
)
def test_what_stands_in_a_head_is_a_branch_a_commit_or_nothing(
    tmp_path: Path, head: bytes, branch: str | None, commit: str | None
) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_bytes(head)
    (tmp_path / "secret").write_text("e" * 40)
    found = find_repository(tmp_path)
    assert found is not None
    assert (found.branch, found.commit) == (branch, commit)
