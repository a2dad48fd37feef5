"""Whatever DevFlow has started ends with it, also when it is killed without a word."""

from __future__ import annotations

import os
import signal
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from devflow_cli.testing import RunningCommand
from devflow_sandbox.threaded import ThreadedSandbox
from integration.living import (
    Stream,
    children_of,
    command_line,
    entries_of,
    is_alive,
    kill,
    port_of,
    until,
    wait_until_ready,
    workers_of,
)
from integration.served import PATIENCE_S, environment, start, upstream_of

PROGRAM = f"""#!{sys.executable}
import os, pathlib, sys, time
pathlib.Path(sys.argv[0] + ".pid").write_text(str(os.getpid()))
time.sleep(600)
"""


@pytest.fixture(scope="module")
def slow() -> Iterator[ThreadedSandbox]:
    """A provider that takes its time over a reply."""
    with ThreadedSandbox(tokens_per_s=20) as sandbox:
        yield sandbox


def _hanging_program(folder: Path, name: str) -> Path:
    """A program that writes down who it is, and then hangs."""
    program = folder / name
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(PROGRAM)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def _pid_of(program: Path) -> int:
    file = program.with_name(program.name + ".pid")
    until(lambda: file.exists() and file.read_text(), f"{program.name} runs")
    return int(file.read_text())


def test_workers_end_in_good_order_when_their_supervisor_is_killed(
    tmp_path: Path, slow: ThreadedSandbox
) -> None:
    with start(tmp_path, "--no-key", "--workers", "2", **upstream_of(slow)) as child:
        port = port_of(child)
        wait_until_ready(port)
        stream = Stream(port).begin()
        workers = workers_of(child.pid)
        assert len(workers) == 2
        kill(child.pid)
        assert stream.read_to_end().rstrip().endswith(b"data: [DONE]\n\n\r\n0")
        until(lambda: not any(map(is_alive, workers)), "the workers have ended")
    assert [entry.outcome for entry in entries_of(tmp_path)] == ["succeeded"]
    arguments = ("serve", "--port", str(port), "--json", "--no-key", "--workers", "2")
    given = environment(tmp_path, **upstream_of(slow))
    with RunningCommand(arguments, folder=tmp_path, environment=given) as again:
        assert port_of(again) == port
        wait_until_ready(port)
        again.terminate()
        assert again.wait(PATIENCE_S).status == 0


def test_the_stand_in_ends_with_the_gateway_that_started_it(tmp_path: Path) -> None:
    for workers in ("1", "2"):
        with start(tmp_path, "--no-key", "--sandbox", "--workers", workers) as child:
            wait_until_ready(port_of(child))
            family = children_of(child.pid)
            assert any("devflow_sandbox" in command_line(one) for one in family)
            kill(child.pid)
            until(lambda: not any(map(is_alive, family)), "all have ended")  # noqa: B023


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_claude_code_ends_with_the_gateway_that_runs_it(
    tmp_path: Path, number: signal.Signals
) -> None:
    program = _hanging_program(tmp_path / "bin", "claude")
    path = f"{program.parent}{os.pathsep}/usr/bin:/bin"
    arguments = ("claude", "--sandbox")
    given = environment(tmp_path, PATH=path)
    with RunningCommand(arguments, folder=tmp_path, environment=given) as child:
        claude = _pid_of(program)
        family = [*children_of(child.pid), claude]
        child.send(number)
        until(lambda: not any(map(is_alive, family)), "all have ended")
        done = child.wait(PATIENCE_S)
    assert done.status == (-9 if number == signal.SIGKILL else 128 + signal.SIGTERM)


def test_a_command_that_is_told_of_a_budget_ends_with_the_gateway(tmp_path: Path) -> None:
    program = _hanging_program(tmp_path / "bin", "tell")
    with ThreadedSandbox() as sandbox:
        given = {
            "DEVFLOW_BUDGET_ALERT_COMMAND": f'["{program}"]',
            "OPENROUTER_COST_BUDGET_USD": "0.002",
            **upstream_of(sandbox),
        }
        with start(tmp_path, "--no-key", **given) as child:
            port = port_of(child)
            file = program.with_name("tell.pid")
            until(lambda: _spend(port) or file.exists(), "the budget is nearly spent")
            told = _pid_of(program)
            kill(child.pid)
            until(lambda: not is_alive(told), "the command has ended")


def _spend(port: int) -> None:
    Stream(port).read_to_end()
