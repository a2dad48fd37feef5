"""Tables fit: whole names, fewer columns on a narrow terminal, everything in a pipe."""

from __future__ import annotations

import asyncio
import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from devflow_claude_code.reading.paths import project_slug
from devflow_cli import main
from devflow_cli.run import Run
from devflow_cli.testing import CommandResult
from devflow_cli.views.tables import print_table
from devflow_core.attribution import Attribution
from devflow_core.testing import an_attempt, an_entry
from devflow_core.usage import Usage
from devflow_sandbox import Sandbox
from devflow_store import Budget, Store
from rich.cells import cell_len
from rich.console import Console

SESSIONS = Path(__file__).parents[3] / "examples" / "sessions"
MODELS = ("anthropic/claude-haiku-4.5", "maker/a-model-whose-name-goes-on-and-on:free")
PROJECTS = ("documentation-of-the-whole-company", "日本語のとても長いプロジェクト名")
CLIENT = "the-build-machine-in-the-cellar"
WIDTHS = (60, 80, 100, 160)
NOT_SET = (
    "OPENROUTER_API_KEYS", "CLAUDE_CONFIG_DIR", "XDG_DATA_HOME", "COLUMNS", "TTY_COMPATIBLE",
    "FORCE_COLOR",
)  # fmt: skip
STYLE = re.compile(r"\x1b\[[0-9;]*m")

Devflow = Callable[..., CommandResult]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a ledger, a budget, a client key and a session, all of long names."""
    folder = tmp_path_factory.mktemp("home")
    data = folder / ".local" / "share" / "devflow" / "sandbox"
    data.mkdir(parents=True, mode=0o700)
    sessions = folder / ".claude" / "projects" / project_slug(folder)
    sessions.mkdir(parents=True)
    transcript = sorted(SESSIONS.glob("**/*.jsonl"))[0]
    (sessions / transcript.name).write_bytes(transcript.read_bytes())
    asyncio.run(_fill(data))
    return folder


async def _fill(data: Path) -> None:
    now = datetime.now(UTC)
    async with Store(data / "ledger.db") as store:
        await store.budgets.set(
            Budget(scope="project", value=PROJECTS[1], limit_usd=Decimal("12.5"), window="month")
        )
        await store.keys.create(CLIENT, {"models": list(MODELS), "routes": ["chat", "read"]})
        for number in range(12):
            started_at = now - timedelta(hours=7 * number)
            attempt = an_attempt(
                attempt_id=f"att_{number}",
                model=MODELS[number % 2],
                cost_usd=Decimal(number**5) / 10**6,
                started_at=started_at,
                usage=Usage(input_tokens=9**number, output_tokens=number),
            )
            entry = an_entry(
                entry_id=f"req_{number}",
                attempts=(attempt,),
                started_at=started_at,
                attribution=Attribution(project=PROJECTS[number % 3 % 2]),
            )
            await store.close(entry)


@pytest.fixture
def devflow(
    filled: Path,
    openrouter_sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Devflow:
    """Runs a command, in a pipe or, with `width`, on a terminal that is so wide."""
    for name in NOT_SET:
        monkeypatch.delenv(name, raising=False)
    environment = {
        "HOME": str(filled),
        "NO_COLOR": "1",
        # Rich takes a dumb terminal for 80 columns wide, whatever COLUMNS says
        "TERM": "xterm",
        "OPENROUTER_BASE_URL": openrouter_sandbox.base_url,
        "OPENROUTER_API_KEY": openrouter_sandbox.api_key,
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(filled)

    def run(*arguments: str, width: int | None = None) -> CommandResult:
        monkeypatch.setattr(sys, "argv", ["devflow", *arguments])
        with monkeypatch.context() as terminal:
            if width is not None:
                terminal.setenv("TTY_COMPATIBLE", "1")
                terminal.setenv("COLUMNS", str(width))
            with pytest.raises(SystemExit) as ended:
                main.run()
        code = ended.value.code
        out, err = capfd.readouterr()
        status = code if isinstance(code, int) else 0
        return CommandResult(status=status, out=STYLE.sub("", out), err=err)

    return run


def _tables(out: str) -> list[list[str]]:
    """Return the lines of each table: its heading and what follows to its end."""
    lines = out.splitlines()
    rules = [at for at, line in enumerate(lines) if set(line.strip()) == {"─"}]
    assert rules, out
    return [lines[rules[0] - 1 : rules[-1] + 2]]


COMMANDS: dict[str, tuple[str, ...]] = {
    "report": ("report",),
    "report of two dimensions": ("report", "--by", "project,model"),
    "report by days": ("report", "--by", "day,model"),
    "budget": ("budget", "list"),
    "client keys": ("keys", "list"),
    "provider keys": ("keys", "status"),
    "models": ("models", "list", "claude"),
    "sessions": ("sessions", "list"),
    "session": ("sessions", "show"),
    "whatif": ("whatif",),
    "explain": ("explain", "Write a haiku about clocks."),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_table_fits_and_says_what_it_leaves_out(devflow: Devflow, name: str) -> None:
    whole = devflow(*COMMANDS[name])
    assert whole.status == 0, whole.err
    assert "Left out:" not in whole.out
    assert "…" not in _tables(whole.out)[0][0]
    heading = _tables(whole.out)[0][0].split("  ")
    everything = {one.strip() for one in heading if one.strip()}
    for width in WIDTHS:
        done = devflow(*COMMANDS[name], width=width)
        assert done.status == 0, done.err
        for line in _tables(done.out)[0]:
            assert cell_len(line) <= width, (width, done.out)
        shown = {one.strip() for one in _tables(done.out)[0][0].split("  ") if one.strip()}
        assert shown <= everything
        missing = everything - shown
        assert ("Left out: " in done.out) == bool(missing), (width, done.out)
        note = " ".join(done.out.partition("Left out: ")[2].split())
        assert all(one in note for one in missing)
    wide = devflow(*COMMANDS[name], "--wide", width=60)
    assert "Left out: " not in wide.out
    assert _tables(wide.out)[0][0].split() == _tables(whole.out)[0][0].split()


@pytest.mark.parametrize("width", [*WIDTHS, None])
def test_no_name_is_cut(devflow: Devflow, width: int | None) -> None:
    for arguments, names in (
        (("report",), MODELS),
        (("report", "--by", "project"), PROJECTS),
        (("keys", "list"), (CLIENT,)),
        (("whatif",), MODELS),
    ):
        out = devflow(*arguments, width=width).out
        assert all(name in out for name in names), out
    both = devflow("report", "--by", "project,model", width=width).out
    for line in both.splitlines():
        assert "…" not in line
    if width is None:
        return
    # at 60 columns two long names go on in the next line, and nothing of them is lost
    pieces = "".join(line.partition("  ")[0].strip() for line in both.splitlines())
    assert all(name in pieces for name in PROJECTS)


def test_what_a_wide_column_took_narrow_ones_get_back() -> None:
    console = Console(width=40, force_terminal=True, file=io.StringIO(), no_color=True)
    run = Run()
    run.__dict__["console"] = console
    columns = {"name": "Name", "size": ">Size", "place": "Place", "cost": "$Cost"}
    row = {"name": "a", "size": 7, "place": "x" * 60, "cost": "1.5"}
    print_table(run, columns, [row], drop=("size", "place"))
    shown = STYLE.sub("", console.file.getvalue())  # type: ignore[attr-defined]
    assert shown.splitlines()[0].split() == ["Name", "Size", "Cost"]


def test_a_pipe_gets_every_column_however_narrow_the_terminal_would_be(devflow: Devflow) -> None:
    heading = _tables(devflow("report").out)[0][0]
    assert all(name in heading for name in ("requests", "cache write", "total p95", "saved"))
    assert max(map(cell_len, devflow("report").out.splitlines())) > 160


@pytest.mark.parametrize("width", [60, None])
def test_columns_are_chosen_by_name(devflow: Devflow, width: int | None) -> None:
    out = devflow("report", "--columns", "model,cost,Cache read", width=width).out
    assert _tables(out)[0][0].split() == ["model", "cost", "cache", "read"]
    assert "Left out" not in out
    wrong = devflow("budget", "list", "--columns", "limit,colour")
    assert wrong.status == 2
    assert "'colour' is none of" in wrong.err
    assert "spent_usd" in wrong.err


def test_money_has_one_form_and_its_points_stand_below_each_other(devflow: Devflow) -> None:
    lines = _tables(devflow("report", "--by", "day,model", "--columns", "day,cost").out)[0]
    amounts = [line for line in lines if "$" in line]
    assert len({line.rindex(".") for line in amounts}) == 1
    assert all(re.search(r"\$(0\.\d{4,}|\d+\.\d\d)$", line) for line in amounts)
    budget = devflow("budget", "list").out
    assert "$12.50" in budget
    assert "$" in devflow("models", "list", "claude").out.splitlines()[2]


def test_a_real_terminal_gets_what_fits_it(filled: Path) -> None:
    # port 9 is where nothing listens
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(filled), "TERM": "xterm",
        "OPENROUTER_BASE_URL": "http://127.0.0.1:9/api/v1",
    }  # fmt: skip
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 60, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-m", "devflow_cli", "report", "--by", "day,model"],
        cwd=filled, env=environment, stdin=its, stdout=its, stderr=its,
    ) as child:  # fmt: skip
        os.close(its)
        out = b""
        try:
            while piece := os.read(ours, 65536):
                out += piece
        except OSError:  # the terminal's other side is closed
            pass
        assert child.wait(120) == 0, out
    os.close(ours)
    text = STYLE.sub("", out.decode())
    assert max(cell_len(line) for line in text.splitlines()) <= 60
    assert "██" in text
    assert "Left out: requests" in text
