"""`devflow init` keeps a key that the provider knows, and joins Claude Code; twice is once."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from devflow_cli.testing import CommandResult, run_command
from devflow_sandbox import Sandbox

FAILING_KEYRING = "keyring.backends.fail.Keyring"


class Machine:
    """A new user's machine, with the stand-in as the provider."""

    def __init__(self, home: Path, sandbox: Sandbox) -> None:
        self.home = home
        self.key = sandbox.api_key
        self.environment = {
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "OPENROUTER_BASE_URL": sandbox.base_url,
            "PYTHON_KEYRING_BACKEND": FAILING_KEYRING,
        }
        self.file = home / ".config/devflow/credentials.toml"

    def run(self, *arguments: str, stdin: str = "") -> CommandResult:
        return run_command(
            *arguments, folder=self.home, environment=self.environment, stdin=stdin.encode()
        )


@pytest.fixture
def machine(home: Path, openrouter_sandbox: Sandbox) -> Machine:
    return Machine(home, openrouter_sandbox)


def test_the_key_is_checked_kept_and_used(machine: Machine, openrouter_sandbox: Sandbox) -> None:
    done = machine.run("init", "--key-stdin", stdin=f"{machine.key}\n")
    assert done.status == 0, done.err
    assert machine.key not in done.out + done.err
    assert "knows this key" in done.out
    assert 'devflow ask "Hello"' in done.out
    assert openrouter_sandbox.bill()["calls"] == []  # the check is free
    assert machine.file.stat().st_mode & 0o777 == 0o600
    asked = machine.run("ask", "Hello")
    assert asked.status == 0, asked.err


def test_a_key_that_the_provider_does_not_know_is_not_kept(machine: Machine) -> None:
    done = machine.run("init", "--key-stdin", stdin="sk-or-v1-wrong\n")
    assert done.status == 5
    assert not machine.file.exists()
    assert machine.run("init", "--key-stdin", "--offline", stdin="sk-or-v1-wrong\n").status == 0
    assert machine.file.exists()


@pytest.mark.parametrize(
    ("arguments", "stdin", "told"),
    [
        ((), "", "--key-stdin < FILE"),
        (("--yes",), "", "--key-stdin < FILE"),
        (("--json",), "", "--key-stdin < FILE"),
        (("--key-stdin",), "", "not a key"),
        (("--key-stdin",), "two words\n", "not a key"),
        (("--key-stdin",), 'quo"te\n', "not a key"),
    ],
)
def test_without_a_terminal_it_says_what_to_give(
    machine: Machine, arguments: tuple[str, ...], stdin: str, told: str
) -> None:
    done = machine.run("init", *arguments, stdin=stdin)
    assert done.status == 3
    assert told in done.err
    assert done.err.count("\n") == 1
    assert not machine.file.exists()


def test_twice_is_once(machine: Machine) -> None:
    (machine.home / ".claude").mkdir()
    settings = machine.home / ".claude/settings.json"
    settings.write_text('{"model": "opus"}\n')
    first = machine.run("init", "--key-stdin", "--yes", stdin=f"{machine.key}\n")
    assert first.status == 0, first.err
    kept = (machine.file.read_bytes(), settings.read_bytes())
    assert b"devflow" in kept[1]
    assert json.loads(kept[1])["model"] == "opus"
    again = machine.run("init", "--yes", "--json")
    assert (machine.file.read_bytes(), settings.read_bytes()) == kept
    assert again.document["key"] == "set already"
    assert "devflow doctor" in again.document["next"]
    assert again.document["claude_code"]["integrated"] is True
    assert machine.run("integrate", "--undo", "--yes").status == 0
    assert settings.read_text() == '{"model": "opus"}\n'


def test_nothing_of_claude_codes_is_changed_unasked(machine: Machine) -> None:
    (machine.home / ".claude").mkdir()
    done = machine.run("init", "--key-stdin", stdin=f"{machine.key}\n")
    assert "`devflow integrate` adds" in done.out
    assert list((machine.home / ".claude").iterdir()) == []


def test_another_key_takes_the_place_of_the_first(
    machine: Machine, openrouter_sandbox: Sandbox
) -> None:
    machine.run("init", "--key-stdin", stdin=f"{machine.key}\n")
    other = openrouter_sandbox.add_key("other")
    assert machine.run("init", "--key-stdin", stdin=f"{other}\n").status == 0
    assert other in machine.file.read_text()
    assert machine.key not in machine.file.read_text()


def test_a_key_of_the_environment_is_said_to_win(machine: Machine) -> None:
    machine.environment["OPENROUTER_API_KEY"] = machine.key
    done = machine.run("init", "--key-stdin", stdin=f"{machine.key}\n")
    assert "has a key as well" in done.err


def test_a_typed_key_is_not_shown(machine: Machine) -> None:
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "devflow_cli", "init", "--offline"],
        stdin=child,
        stdout=child,
        stderr=child,
        env=machine.environment,
        cwd=machine.home,
        start_new_session=True,
    )
    os.close(child)
    shown = b""
    try:
        while b"not shown" not in shown:
            shown += os.read(parent, 1024)
        os.write(parent, f"{machine.key}\n".encode())
        try:
            while chunk := os.read(parent, 1024):
                shown += chunk
        except OSError:
            pass  # Linux's word for the end of a terminal
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(parent)
    assert machine.key.encode() not in shown
    assert machine.key in machine.file.read_text()
