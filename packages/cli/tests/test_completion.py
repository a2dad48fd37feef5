"""The shell completes what is on this machine, and nothing that could be run as a command."""

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from devflow_cli.testing import Devflow, run_command

SESSION = "b0b4c439-0397-43ca-ab6e-d4217f8a9811"
PROGRAM = Path(sys.executable).parent / "devflow"


class Shell:
    """Asks for completions as the scripts of the shells do."""

    def __init__(self, home: Path, claude_dir: Path) -> None:
        self.home = home
        self.environment = {
            "HOME": str(home),
            "PATH": f"{PROGRAM.parent}:/usr/bin:/bin",
            "CLAUDE_CONFIG_DIR": str(claude_dir),
            "OPENROUTER_BASE_URL": "http://127.0.0.1:9/api/v1",
        }

    def complete(self, shell: str, line: str) -> str:
        words = line.split(" ")
        asked = {
            "bash": {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)},
            "zsh": {"_TYPER_COMPLETE_ARGS": line},
            "fish": {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
        }[shell]
        done = run_command(
            folder=self.home,
            environment={
                **self.environment, **asked, "_DEVFLOW_COMPLETE": f"complete_{shell}"
            },
        )  # fmt: skip
        assert done.err == ""
        return done.out.strip()

    def run(self, *arguments: str) -> None:
        done = run_command(*arguments, folder=self.home, environment=self.environment)
        assert done.status == 0, done.err


@pytest.fixture
def shell(home: Path, transcript: Path) -> Shell:
    folder = home / "claude" / "projects" / "-home-dev-demo"
    folder.mkdir(parents=True)
    for one in transcript.parent.glob("*.jsonl"):
        shutil.copy(one, folder)
    found = Shell(home, home / "claude")
    found.run("sessions", "list")
    return found


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_every_shell_completes_sessions_models_and_projects(shell: Shell, name: str) -> None:
    assert SESSION in shell.complete(name, "devflow handoff b0b4")
    assert "e3e6ea98" not in shell.complete(name, "devflow handoff b0b4")
    assert "anthropic/claude-haiku-4.5" in shell.complete(name, "devflow ask --model anthropic/")
    assert "/home/dev/demo" in shell.complete(name, "devflow costs --project /")
    assert "monthly" in shell.complete(name, "devflow costs m")


def test_ids_of_budgets_and_of_requests_are_completed(shell: Shell, online: Devflow) -> None:
    online("ask", "Hello", "--data-dir", str(shell.home / "data"))
    shell.environment["DEVFLOW_DATA_DIR"] = str(shell.home / "data")
    shell.run("budget", "set", "--limit", "20")
    assert "req_" in shell.complete("bash", "devflow explain req")
    listed = run_command(
        "budget", "list", "--json", folder=shell.home, environment=shell.environment
    ).document
    (budget,) = listed["budgets"]
    assert budget["id"] in shell.complete("bash", "devflow budget remove ")


def test_nothing_is_created_or_said_where_nothing_is(home: Path) -> None:
    shell = Shell(home, home / "none")
    before = sorted(home.rglob("*"))
    assert shell.complete("bash", "devflow explain r") == ""
    assert shell.complete("bash", "devflow budget remove ") == ""
    assert shell.complete("bash", "devflow sessions show x") == ""
    assert sorted(home.rglob("*")) == before
    (home / ".config" / "devflow").mkdir(parents=True)
    (home / ".config" / "devflow" / "devflow.toml").write_text("this is not TOML")
    assert shell.complete("bash", "devflow ask --model a") == ""


def test_a_damaged_index_completes_nothing_and_stays(shell: Shell) -> None:
    file = shell.home / ".local/share/devflow/sandbox/sessions.db"
    file.write_bytes(b"damaged")
    assert shell.complete("bash", "devflow sessions show b") == ""
    assert file.read_bytes() == b"damaged"


def test_the_provider_is_not_asked(shell: Shell) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        port = listener.getsockname()[1]
        shell.environment["OPENROUTER_BASE_URL"] = f"http://127.0.0.1:{port}/api/v1"
        assert "anthropic/" in shell.complete("bash", "devflow ask --model anthropic/")
        with pytest.raises(BlockingIOError):
            listener.accept()


HOSTILE = "\\$(touch owned) `touch owned` '; touch owned; ' \" )) && touch owned"


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_a_title_cannot_run_a_command(shell: Shell, name: str) -> None:
    """zsh evaluates the words beside a value, and a title may come from any repository."""
    path = shell.home / "claude/projects/-home-dev-demo" / f"{SESSION}.jsonl"
    title = {"type": "custom-title", "customTitle": HOSTILE, "sessionId": SESSION}
    with path.open("a") as file:
        file.write(json.dumps(title) + "\n")
    shell.run("sessions", "list")
    told = shell.complete(name, "devflow handoff b0b4")
    assert SESSION in told
    if name != "bash":
        assert "touch owned" in told
    words = told.replace("_arguments '*: :((", "").replace("))'", "").replace('"', "")
    assert not set("$`\\;'&()") & set(words.replace("\\\\:", ""))


def test_bash_itself_completes_after_the_installation(shell: Shell) -> None:
    """The script that `--show-completion` prints, run by a real bash."""
    script = f"""
        eval "$(_DEVFLOW_COMPLETE=source_bash {PROGRAM})"
        COMP_WORDS=(devflow sessions show b0b4); COMP_CWORD=3
        $(complete -p devflow | sed 's/.*-F \\([^ ]*\\).*/\\1/') devflow
        echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        env=shell.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.split() == [SESSION]


ZSH = f"""
zmodload zsh/zpty
zpty terminal zsh -f -i
zpty -w terminal 'autoload -Uz compinit; compinit -u -D'
zpty -w terminal 'eval "$(_DEVFLOW_COMPLETE=source_zsh {PROGRAM})"; print IS''READY'
zpty -r terminal seen '*ISREADY*'
zpty -w -n terminal $'devflow sessions show b0b4\\t'
zpty -r terminal seen '*{SESSION}*'
print {SESSION}
"""
"""Types the beginning of an id and a tab on a terminal, and waits until the rest has appeared."""
FISH = f"""
_DEVFLOW_COMPLETE=source_fish {PROGRAM} | source
complete --do-complete "devflow sessions show b0b4"
"""


@pytest.mark.parametrize(("name", "options", "script"), [("zsh", "-f", ZSH), ("fish", "-N", FISH)])
def test_zsh_and_fish_themselves_complete(
    shell: Shell, name: str, options: str, script: str
) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    done = subprocess.run(
        [name, options, "-c", script],
        env={**shell.environment, "TERM": "xterm"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert SESSION in done.stdout
