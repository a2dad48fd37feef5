"""`devflow top` and `report --watch` show what runs, what it costs, and what fails, live."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from devflow_cli.testing import RunningCommand, run_command
from devflow_core.ledger import AttemptStart
from devflow_core.testing import an_attempt, an_entry
from devflow_store import Budget, Store
from rich.cells import cell_len

MODEL, BROKEN = "maker/a-model-whose-name-goes-on-and-on:free", "other/broken"
MOST_LOOKS = 2000
STYLE = re.compile(r"\x1b\[[0-9;]*[mHKJ]")


async def _fill(data: Path) -> None:
    now = datetime.now(UTC)
    async with Store(data / "ledger.db") as store:
        await store.budgets.set(
            Budget(id="tight", scope="global", limit_usd=Decimal(1), window="month")
        )
        await store.budgets.set(
            Budget(id="spacious", scope="global", limit_usd=Decimal(1000), window="month")
        )
        for number, model in enumerate((MODEL, BROKEN)):
            attempt = an_attempt(
                attempt_id=f"att_{number}",
                model=model,
                cost_usd=Decimal("0.45"),
                started_at=now - timedelta(seconds=20),
            )
            entry = an_entry(
                entry_id=f"req_{number}", attempts=(attempt,), started_at=attempt.started_at
            )
            if model == BROKEN:
                entry = an_entry(
                    entry_id="req_broken",
                    attempts=(attempt,),
                    started_at=attempt.started_at,
                    outcome="failed",
                    error_code="upstream_timeout",
                )
            await store.close(entry)


async def _begin(store: Store) -> None:
    for number in (1, 2):
        start = AttemptStart(
            attempt_id=f"att_open_{number}",
            entry_id="req_open",
            number=number,
            model=MODEL,
            started_at=datetime.now(UTC) - timedelta(seconds=3),
            reserved_usd=Decimal("0.01"),
            task_type="coding",
        )
        await store.begin(start)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    data = folder / ".local" / "share" / "devflow"
    data.mkdir(parents=True, mode=0o700)
    asyncio.run(_fill(data))
    return folder


@pytest.fixture(scope="module")
def environment(home: Path) -> dict[str, str]:
    # port 9 is where nothing listens
    return {
        "PATH": os.environ["PATH"], "HOME": str(home), "TERM": "xterm", "DEVFLOW_PORT": "9",
    }  # fmt: skip


def test_a_snapshot_has_what_runs_what_it_costs_what_nears_its_limit_and_what_failed(
    home: Path, environment: dict[str, str]
) -> None:
    async def main() -> None:
        async with Store(home / ".local/share/devflow/ledger.db") as store:
            await _begin(store)
            for arguments, terminal in (
                (("top", "--json"), {}),
                (("top", "--once"), {"COLUMNS": "60", "TTY_COMPATIBLE": "1"}),
            ):
                done = await asyncio.to_thread(
                    run_command, *arguments, folder=home, environment=environment | terminal
                )
                assert done.status == 0, done.err
                if terminal:
                    _check_screen(STYLE.sub("", done.out))
                else:
                    _check_document(json.loads(done.out))
            await store.close(an_entry(entry_id="req_open", attempts=()))

    asyncio.run(main())


def _check_document(shown: dict[str, object]) -> None:
    text = json.dumps(shown)
    (running,) = shown["running"]  # type: ignore[misc]
    assert (running["model"], running["attempt"]) == (MODEL, 2)  # type: ignore[index]
    assert shown["rate"]["cost_usd_per_min"] == "0.18"  # type: ignore[index]
    (near,) = shown["budgets"]  # type: ignore[misc]
    assert near["id"] == "tight"  # type: ignore[index]
    (error,) = shown["errors"]  # type: ignore[misc]
    assert (error["model"], error["error"]) == (BROKEN, "upstream_timeout")  # type: ignore[index]
    assert shown["server"] is None
    assert "req_open" in text


def _check_screen(out: str) -> None:
    assert max(map(cell_len, out.splitlines())) <= 60
    assert MODEL in out
    assert "1 running" in out
    assert "$0.1800/min" in out
    assert "tight" in out
    assert "spacious" not in out
    assert "upstream_timeout" in out
    assert "no server" in out


@pytest.mark.parametrize("command", [("top",), ("report", "--watch")])
def test_ctrl_c_ends_what_is_watched_with_success(
    home: Path, environment: dict[str, str], command: tuple[str, ...]
) -> None:
    with RunningCommand(command, folder=home, environment=environment) as running:
        for _ in range(MOST_LOOKS):
            # two looks: an empty line stands between them
            if running.out.count("\n\n") > 1 or not running.is_running:
                break
            time.sleep(0.05)
        assert running.is_running, running.err
        running.send(signal.SIGINT)
        done = running.wait()
    assert done.status == 0, done.err
    assert "Interrupted" not in done.err
    assert MODEL in done.out


def test_a_terminal_is_drawn_over_and_not_scrolled(home: Path, environment: dict[str, str]) -> None:
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 12, 60, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-m", "devflow_cli", "top", "--every", "0.2"],
        cwd=home, env=environment, stdin=its, stdout=its, stderr=its, start_new_session=True,
    ) as child:  # fmt: skip
        os.close(its)
        out = b""
        while out.count(b"DevFlow") < 3:
            out += os.read(ours, 65536)
        child.send_signal(signal.SIGINT)
        try:
            while piece := os.read(ours, 65536):
                out += piece
        except OSError:  # the terminal's other side is closed
            pass
        assert child.wait(120) == 0, out
    os.close(ours)
    screens = out.decode().split("\x1b[H")[2:]
    assert len(screens) >= 3
    for screen in screens:
        assert screen.count("\n") <= 12
        assert "DevFlow" in screen


def test_what_cannot_be_watched_is_a_usage_error(home: Path, environment: dict[str, str]) -> None:
    for arguments in (("--json",), ("--format", "csv"), ("-o", "x")):
        done = run_command("report", "--watch", *arguments, folder=home, environment=environment)
        assert (done.status, "--watch" in done.err) == (2, True)
