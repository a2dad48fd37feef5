"""What `devflow integrate` writes works from any folder and with any PATH, and is quiet when gone.

The commands are run as Claude Code runs them: hooks and status line with `/bin/sh -c`, the MCP
server without a shell, with little on the PATH, in a folder that has nothing to do with DevFlow.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sysconfig
import venv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from devflow_claude_code.reading.paths import project_slug
from devflow_claude_code.testing import TranscriptScript
from devflow_cli.testing import run_command
from integration.doors import KEY, PATIENCE_S, PROGRAM

BARE_PATH = "/usr/bin:/bin"
SESSION = (
    Path(__file__).parents[2]
    / "packages/adapters/claude_code/tests/samples/transcripts/2.1.329/coding"
    / "b0b4c439-0397-43ca-ab6e-d4217f8a9811.jsonl"
)
STATUS = {"session_id": "s", "model": {"display_name": "Opus"}, "cost": {"total_cost_usd": 1.5}}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "0"},
    },
}


class User:
    """Somebody with Claude Code, a project, and DevFlow installed in some environment."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.project = home / "work"
        self.settings = home / ".claude" / "settings.json"
        for folder in (self.project, self.settings.parent):
            folder.mkdir(parents=True)

    def devflow(
        self, program: Path, *arguments: str, path: str = BARE_PATH
    ) -> subprocess.CompletedProcess[str]:
        """Call a DevFlow in a terminal whose PATH need not have it."""
        if program != PROGRAM:
            return self.start([str(program), *arguments], path=path)
        environment = self.environment(path)
        done = run_command(*arguments, folder=self.project, environment=environment)
        return subprocess.CompletedProcess(arguments, done.status, done.out, done.err)

    def as_claude_code(
        self, entry: Mapping[str, Any], event: object
    ) -> subprocess.CompletedProcess[str]:
        """Run a hook or status line."""
        return self.start(["/bin/sh", "-c", entry["command"]], json.dumps(event), Path("/"))

    def start(
        self, argv: list[str], stdin: str = "", folder: Path | None = None, path: str = BARE_PATH
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            argv,
            input=stdin,
            cwd=folder or self.project,
            env=self.environment(path),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def environment(self, path: str) -> dict[str, str]:
        return {"HOME": str(self.home), "PATH": path, "OPENROUTER_API_KEY": KEY}

    @property
    def hook(self) -> dict[str, Any]:
        """The hook that stands at the start of a session."""
        return self.read(self.settings)["hooks"]["SessionStart"][-1]["hooks"][0]

    @property
    def status_line(self) -> dict[str, Any]:
        return self.read(self.settings)["statusLine"]

    @property
    def server(self) -> dict[str, Any]:
        return self.read(self.project / ".mcp.json")["mcpServers"]["devflow"]

    def read(self, file: Path) -> Any:
        return json.loads(file.read_text())


@pytest.fixture
def user(tmp_path: Path) -> User:
    return User(tmp_path / "home")


Install = Callable[[Path], Path]


@pytest.fixture
def install() -> Install:
    """Installs DevFlow into a new virtual environment, and gives its program."""

    def create(folder: Path) -> Path:
        venv.create(folder, symlinks=True)
        packages = next(folder.glob("lib/python*/site-packages"))
        ours = sysconfig.get_path("purelib")
        # with its own .pth files, which name the packages of the workspace
        (packages / "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
        program = folder / "bin" / "devflow"
        body = PROGRAM.read_text().partition("\n")[2]
        # as uv and pip begin a script whose path no `#!` line can hold
        start = f"'''exec' {shlex.quote(str(folder / 'bin' / 'python'))} \"$0\" \"$@\"\n' '''"
        program.write_text(f"#!/bin/sh\n{start}\n{body}")
        program.chmod(0o755)
        return program

    return create


def findings(done: subprocess.CompletedProcess[str]) -> dict[str, tuple[bool, str]]:
    found = json.loads(done.stdout)["findings"]
    return {one["name"]: (one["ok"], one["detail"]) for one in found}


def test_an_environment_in_an_awkward_place_that_is_on_no_path(
    user: User, install: Install, tmp_path: Path
) -> None:
    program = install(tmp_path / 'it\'s a "place" with $HOME & more' / "venv")
    for arguments in (("integrate", "--yes"), ("integrate", "--mcp", "--yes")):
        done = user.devflow(program, *arguments)
        assert done.returncode == 0, done.stderr
    assert "which only this machine has" in done.stderr

    sessions = user.settings.parent / "projects" / project_slug(user.project)
    sessions.mkdir(parents=True)
    (sessions / SESSION.name).write_bytes(SESSION.read_bytes())
    start = {"hook_event_name": "SessionStart", "source": "startup", "session_id": "new"}
    told = user.as_claude_code(user.hook, {**start, "cwd": str(user.project)})
    assert (told.returncode, told.stderr) == (0, "")
    assert "Add a --json flag to report.py" in told.stdout
    script = TranscriptScript()
    script.say("Claude usage limit reached.", model="<synthetic>")
    script.rows[-1]["isApiErrorMessage"] = True
    stopped = sessions / "11111111-2222-4333-8444-555555555555.jsonl"
    stopped.write_text("".join(f"{json.dumps(row)}\n" for row in script.rows))
    offered = user.as_claude_code(
        user.hook, {"hook_event_name": "Stop", "transcript_path": str(stopped)}
    )
    command = f"{shlex.quote(str(program))} handoff {stopped.stem} --write-back"
    assert json.loads(offered.stdout)["systemMessage"].endswith(command)
    line = user.as_claude_code(user.status_line, STATUS)
    assert (line.returncode, line.stdout) == (0, "DevFlow · Opus · $1.50 by Claude Code\n")
    server = [user.server["command"], *user.server["args"]]
    answered = user.start(server, json.dumps(INITIALIZE) + "\n", Path("/"))
    assert json.loads(answered.stdout)["result"]["serverInfo"]["name"] == "devflow"

    checked = user.devflow(program, "doctor", "--offline", "--json")
    assert checked.returncode == 0, checked.stdout
    assert {"hooks", "statusline", "mcp"} <= findings(checked).keys()


@pytest.mark.parametrize("gone", ["venv", "venv/bin/python"])
def test_an_environment_that_is_gone_disturbs_nobody_and_is_told_by_the_doctor(
    user: User, install: Install, tmp_path: Path, gone: str
) -> None:
    before = b'{"model": "opus"}'
    user.settings.write_bytes(before)
    program = install(tmp_path / "venv")
    assert user.devflow(program, "integrate", "--yes").returncode == 0
    remove(tmp_path / gone)
    for entry in (user.hook, user.status_line):
        done = user.as_claude_code(entry, STATUS)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    checked = user.devflow(PROGRAM, "doctor", "--offline", "--json")
    assert checked.returncode == 1
    for name in ("hooks", "statusline"):
        is_ok, detail = findings(checked)[name]
        assert not is_ok
        assert str(program) in detail
        assert "Run `devflow integrate` again." in detail

    again = user.devflow(PROGRAM, "integrate", "--yes")
    assert again.returncode == 0, again.stderr
    assert str(program) not in user.settings.read_text()
    assert user.as_claude_code(user.status_line, STATUS).stdout.startswith("DevFlow")
    assert user.devflow(PROGRAM, "integrate", "--undo", "--yes").returncode == 0
    assert user.settings.read_bytes() == before


def test_a_link_on_the_path_is_named_and_a_project_gets_the_name_alone(
    user: User, install: Install, tmp_path: Path
) -> None:
    program = install(tmp_path / "tools" / "devflow")
    links = user.home / ".local" / "bin"
    links.mkdir(parents=True)
    (links / "devflow").symlink_to(program)
    path = f"{links}:{BARE_PATH}"
    assert user.devflow(links / "devflow", "integrate", "--mcp", "--yes", path=path).stderr == ""
    assert user.server["command"] == "devflow"
    assert findings(user.devflow(program, "doctor", "--offline", "--json", path=path))["mcp"][0]
    missing = findings(user.devflow(program, "doctor", "--offline", "--json"))["mcp"]
    assert missing[0] is False
    assert "integrate --mcp" in missing[1]
    assert user.devflow(links / "devflow", "integrate", "--yes", path=path).returncode == 0
    assert user.status_line["command"].startswith(f"{links}/devflow statusline")
    assert user.as_claude_code(user.status_line, STATUS).stdout.startswith("DevFlow")


def test_the_path_of_an_environment_that_is_active_now_does_not_count(user: User) -> None:
    # `uv run` and `activate` do this; Claude Code is started elsewhere
    path = f"{PROGRAM.parent}:{BARE_PATH}"
    for arguments in (("integrate", "--yes"), ("integrate", "--mcp", "--yes")):
        assert user.devflow(PROGRAM, *arguments, path=path).returncode == 0
    assert user.hook["command"].startswith(f"{shlex.quote(str(PROGRAM))} hook")
    assert user.server["command"] == str(PROGRAM)


def test_an_environment_in_a_cache_is_refused(user: User, install: Install, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    program = install(cache / "archive" / "venv")
    (cache / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n")
    done = user.devflow(program, "integrate", "--yes")
    assert done.returncode == 3
    assert str(cache) in done.stderr
    assert "uv tool install" in done.stderr
    assert not user.settings.exists()
    assert user.devflow(program, "integrate", "--undo", "--yes").returncode == 0


def test_names_that_an_older_devflow_wrote_are_found_wanting_replaced_and_undone(
    user: User,
) -> None:
    group = {"hooks": [{"type": "command", "command": "devflow hook", "timeout": 10}]}
    old = {
        "model": "opus",
        "hooks": {event: [group] for event in ("SessionStart", "Stop", "SessionEnd")},
        "statusLine": {"type": "command", "command": "devflow statusline"},
    }
    user.settings.write_text(json.dumps(old))
    checked = findings(user.devflow(PROGRAM, "doctor", "--offline", "--json"))
    for name in ("hooks", "statusline"):
        assert checked[name][0] is False
        assert "is not on every PATH" in checked[name][1]
    assert user.devflow(PROGRAM, "integrate", "--yes").returncode == 0
    assert all(len(groups) == 1 for groups in user.read(user.settings)["hooks"].values())
    assert findings(user.devflow(PROGRAM, "doctor", "--offline", "--json"))["hooks"][0]
    assert user.devflow(PROGRAM, "integrate", "--undo", "--yes").returncode == 0
    assert user.read(user.settings) == {"model": "opus"}


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        os.unlink(path)
