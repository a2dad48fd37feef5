"""Asked to end, the gateway lets its replies end, takes nothing more, and leaves every entry."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from devflow_cli.testing import RunningCommand
from devflow_sandbox.threaded import ThreadedSandbox
from integration.doors import PROGRAM
from integration.living import (
    Stream,
    children_of,
    entries_of,
    heeds,
    is_alive,
    port_of,
    until,
    wait_until_ready,
    workers_of,
)
from integration.served import PATIENCE_S, environment, start, upstream_of

WORKERS = ["1", "2"]


@pytest.fixture(scope="module")
def slow() -> Iterator[ThreadedSandbox]:
    """A provider that takes a few seconds over a reply."""
    with ThreadedSandbox(tokens_per_s=15) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def endless() -> Iterator[ThreadedSandbox]:
    """A provider whose replies last longer than any time to drain."""
    with ThreadedSandbox(tokens_per_s=0.2) as sandbox:
        yield sandbox


def _is_refused(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 5):
            return False
    except ConnectionRefusedError:
        return True


def _signal_all(child: RunningCommand, number: signal.Signals) -> None:
    """As a terminal does, and systemd: every process gets it."""
    for pid in (child.pid, *workers_of(child.pid)):
        os.kill(pid, number)


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_replies_under_way_end_whole(
    tmp_path: Path, slow: ThreadedSandbox, workers: str, number: signal.Signals
) -> None:
    with start(tmp_path, "--no-key", "--workers", workers, **upstream_of(slow)) as child:
        port = port_of(child)
        wait_until_ready(port)
        streams = [Stream(port) for _ in range(4)]
        for stream in streams:
            stream.begin()
        # a terminal that is closed says it more than once, at any moment of the first answer to it
        for _ in range(100 if number == signal.SIGHUP else 1):
            _signal_all(child, number)
        until(lambda: _is_refused(port), "nobody is let in any more")
        assert child.is_running
        received = [stream.read_to_end() for stream in streams]
        assert child.wait(PATIENCE_S).status == 0
    assert all(b"data: [DONE]" in one for one in received)
    assert [entry.outcome for entry in entries_of(tmp_path)] == ["succeeded"] * 4


@pytest.mark.parametrize("workers", WORKERS)
def test_what_is_not_over_in_time_gets_an_error_and_its_entry(
    tmp_path: Path, endless: ThreadedSandbox, workers: str
) -> None:
    count = 50
    given = {"DEVFLOW_DRAIN_TIMEOUT_S": "0.5", **upstream_of(endless)}
    with start(tmp_path, "--no-key", "--workers", workers, **given) as child:
        port = port_of(child)
        wait_until_ready(port)
        streams = [Stream(port) for _ in range(count)]
        for stream in streams:
            stream.begin()
        child.terminate()
        received = [stream.read_to_end() for stream in streams]
        assert child.wait(PATIENCE_S).status == 0
    assert all(b"The gateway is going down" in one for one in received)
    entries = entries_of(tmp_path)
    assert len(entries) == count
    assert {entry.outcome for entry in entries} <= {"cancelled", "failed"}
    assert all(entry.error_code != "process_lost" for entry in entries)


@pytest.mark.parametrize("workers", WORKERS)
def test_a_second_signal_ends_it_at_once(
    tmp_path: Path, endless: ThreadedSandbox, workers: str
) -> None:
    with start(tmp_path, "--no-key", "--workers", workers, **upstream_of(endless)) as child:
        port = port_of(child)
        wait_until_ready(port)
        stream = Stream(port).begin()
        family = [child.pid, *children_of(child.pid)]
        child.terminate()
        until(lambda: _is_refused(port), "it is draining")
        child.terminate()
        until(lambda: not any(map(is_alive, family)), "all have ended")
        assert b"[DONE]" not in stream.read_to_end()


def test_a_worker_that_hangs_is_killed(tmp_path: Path, slow: ThreadedSandbox) -> None:
    given = {"DEVFLOW_DRAIN_TIMEOUT_S": "0", **upstream_of(slow)}
    with start(tmp_path, "--no-key", "--workers", "2", **given) as child:
        wait_until_ready(port_of(child))
        workers = workers_of(child.pid)
        # the other one may be the one that answers; of SIGTERM a worker that still starts would die
        until(lambda: heeds(workers[0], signal.SIGTERM), "the worker drains when it is told to")
        os.kill(workers[0], signal.SIGSTOP)
        child.terminate()
        done = child.wait(PATIENCE_S)
        assert (done.status, "worker_hangs" in done.err) == (0, True)
        assert not any(map(is_alive, workers))


def test_who_is_started_under_nohup_outlives_the_terminal(
    tmp_path: Path, slow: ThreadedSandbox
) -> None:
    command = ["/usr/bin/nohup", str(PROGRAM), "serve", "--port", "0", "--json", "--no-key"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(tmp_path, **upstream_of(slow)),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as child:  # fmt: skip
        assert child.stdout is not None
        line = b"".join(iter(child.stdout.readline, b"}\n"))
        port = int(line.split(b'"url": "')[1].split(b'"')[0].rpartition(b":")[2])
        child.send_signal(signal.SIGHUP)
        assert b"[DONE]" in Stream(port).read_to_end()
        child.terminate()
        assert child.wait(PATIENCE_S) == 0


@pytest.mark.parametrize("workers", WORKERS)
def test_nobody_has_to_read_what_it_says(
    tmp_path: Path, slow: ThreadedSandbox, workers: str
) -> None:
    """Both its outputs are pipes whose readers have gone; every request writes a line."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    given = environment(tmp_path, DEVFLOW_LOG_LEVEL="info", **upstream_of(slow))
    command = [str(PROGRAM), "serve", "--port", str(port), "--no-key", "--workers", workers]
    with subprocess.Popen(
        command, cwd=tmp_path, env=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        child.stderr.close()
        until(lambda: not _is_refused(port), "it listens")
        wait_until_ready(port)
        for _ in range(3):
            assert b"[DONE]" in Stream(port).read_to_end()
        child.terminate()
        child.wait(PATIENCE_S)
    assert [entry.outcome for entry in entries_of(tmp_path)] == ["succeeded"] * 3


def test_workers_that_never_begin_are_given_up(tmp_path: Path, slow: ThreadedSandbox) -> None:
    with start(tmp_path, "--no-key", "--workers", "2", **upstream_of(slow)) as child:
        until(lambda: _kill_workers(child) or not child.is_running, "it has given up")
        done = child.wait(PATIENCE_S)
    assert done.status == 1
    assert "No worker could begin to take requests" in done.err


def _kill_workers(child: RunningCommand) -> None:
    for worker in workers_of(child.pid):
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)


def test_what_keeps_workers_from_beginning_is_told(tmp_path: Path, slow: ThreadedSandbox) -> None:
    folder = tmp_path / ".local" / "share" / "devflow" / "sandbox"
    with start(tmp_path, "--no-key", "--workers", "2", **upstream_of(slow)) as child:
        port_of(child)  # the ledger has been looked at: from here on it is the workers' matter
        for file in folder.glob("ledger.db*"):
            file.unlink()
        (folder / "ledger.db").write_bytes(b"This is no ledger." * 1000)
        done = child.wait(4 * PATIENCE_S)
    assert done.status == 1
    assert "ledger" in done.err.split("No worker could begin")[1]


def test_a_worker_that_dies_is_replaced(tmp_path: Path, slow: ThreadedSandbox) -> None:
    with start(tmp_path, "--no-key", "--workers", "2", **upstream_of(slow)) as child:
        port = port_of(child)
        wait_until_ready(port)
        for _ in range(3):
            before = workers_of(child.pid)
            until(lambda: len(workers_of(child.pid)) == 2, "there are two")
            os.kill(before[0], signal.SIGKILL)
            until(lambda: before[0] not in workers_of(child.pid), "it is gone")  # noqa: B023
            until(lambda: len(workers_of(child.pid)) == 2, "there are two again")
            wait_until_ready(port)
        child.terminate()
        assert child.wait(PATIENCE_S).status == 0


def test_workers_see_no_secret_of_the_one_that_starts_them(tmp_path: Path) -> None:
    canary = "sk-or-v1-CANARY-of-the-environment"
    given = {"OPENROUTER_API_KEY": canary, "DEVFLOW_MANAGEMENT_KEY": canary + "-2"}
    with start(tmp_path, "--no-key", "--workers", "2", **given) as child:
        wait_until_ready(port_of(child))
        workers = workers_of(child.pid)
        seen = b"".join(
            Path(f"/proc/{pid}/{what}").read_bytes()
            for pid in workers
            for what in ("environ", "cmdline")
        )
        child.terminate()
        child.wait(PATIENCE_S)
    assert len(workers) == 2
    assert b"PATH=" in seen
    assert b"CANARY" not in seen
    assert sys.platform != "linux" or seen
