"""A process ends when a signal asks it to, or when the process that started it is gone."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from devflow_core.processes import end_when, end_with_us, read_to_end, wait_for_signal

UNDER_A_STORM = """
import asyncio, os, signal, threading
from devflow_core.processes import wait_for_signal

def storm():
    while True:
        os.kill(os.getpid(), signal.SIGTERM)

signal.signal(signal.SIGTERM, signal.SIG_IGN)
threading.Thread(target=storm, daemon=True).start()
for _ in range(100):
    asyncio.run(wait_for_signal(is_supervised=True))
"""
WATCHED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.fixture
def kept_signals() -> Iterator[None]:
    """Restore this process's signal handlers after the test."""
    before = {number: signal.getsignal(number) for number in WATCHED}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("kept_signals")
@pytest.mark.parametrize("is_supervised", [True, False])
def test_a_signal_is_waited_for_and_a_supervised_process_ignores_what_follows(
    is_supervised: bool,
) -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)
        await wait_for_signal(is_supervised=is_supervised)

    asyncio.run(main())
    is_ignored = signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    assert is_ignored == is_supervised
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_a_signal_at_no_moment_ends_a_process_that_another_one_ends() -> None:
    done = subprocess.run([sys.executable, "-c", UNDER_A_STORM], check=False, timeout=60)
    assert done.returncode == 0


def test_a_pipe_is_read_until_its_other_end_is_closed() -> None:
    ours, theirs = os.pipe()
    os.write(theirs, b"still here")
    os.close(theirs)
    read_to_end(ours)
    os.close(ours)


def test_a_parent_that_lives_is_only_watched() -> None:
    before = threading.active_count()
    end_when(threading.Event().wait)
    assert threading.active_count() == before + 1


def test_a_program_is_started_by_way_of_one_that_ends_with_us() -> None:
    assert end_with_us(("claude", "--version"))[-3:] == (str(os.getpid()), "claude", "--version")
