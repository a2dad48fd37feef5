"""Ends processes on signals, and makes sure that none outlives the process that started it.

A process of ours watches something that its parent holds: a pipe breaks however the parent ends. A
foreign program does not watch, so Linux sends it a signal.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import FrameType

MAX_ORPHAN_S = 45.0
"""Seconds that a process may take to end in order once its parent is gone; then it is killed."""
_STOP = (signal.SIGTERM, signal.SIGINT)
HANG_UP: tuple[signal.Signals, ...] = (
    (signal.SIGHUP,) if sys.platform != "win32" else ()  # Windows has none
)
"""The signal that a terminal sends when it closes, perhaps several times."""
_EXEC_WITH_DEATH_SIGNAL = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, int(signal.SIGTERM))
try:
    if os.getppid() == int(sys.argv[1]):
        os.execvp(sys.argv[2], sys.argv[2:])
except OSError as error:
    reason = "its interpreter is missing" if error.errno == 2 else error.strerror
    sys.stderr.write(f"devflow: {sys.argv[2]} is there but cannot be started: {reason}.\\n")
    sys.exit(126)
"""
"""PR_SET_PDEATHSIG is 1 and survives the exec; a parent that has already ended sends nothing.

126 is the status of shells for a program that cannot be executed.
"""


def signals_to_heed() -> list[signal.Signals]:
    """Return the signals that ask this process to end; under `nohup` SIGHUP is not one."""
    return [*_STOP, *(one for one in HANG_UP if signal.getsignal(one) != signal.SIG_IGN)]


async def wait_for_signal(*, is_supervised: bool = False) -> None:
    """Return when the process is asked to end: by SIGTERM, SIGINT, or a closed terminal.

    A closed terminal may signal several times (SIGHUP); a second SIGTERM or SIGINT ends the process
    at once. `nohup` is respected.

    Args:
        is_supervised: whether another process of ours ends this one and waits for it. Further
            signals are then ignored: a terminal and systemd signal both processes, so a second
            signal does not mean that the user is in a hurry.
    """
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()

    def ask(_number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(asked.set)

    watched = signals_to_heed()
    for number in watched:
        signal.signal(number, ask)
    try:
        await asked.wait()
    finally:
        for number in watched:
            is_ignored = asked.is_set() and (is_supervised or number in HANG_UP)
            # in one step, which `loop.remove_signal_handler` is not: it restores the default first,
            # and a signal that arrives then ends the process with its replies under way
            signal.signal(number, signal.SIG_IGN if is_ignored else _default_of(number))


def _default_of(number: int) -> Callable[[int, FrameType | None], object] | signal.Handlers:
    return signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL


def end_when(is_over: Callable[[], object]) -> None:
    """Send SIGTERM to this process once a call returns, and SIGKILL `MAX_ORPHAN_S` later.

    Args:
        is_over: returns when the parent is gone; called in a separate thread, so that this works
            whatever the process is doing.
    """

    def watch() -> None:  # pragma: no cover - kills the process that it runs in
        is_over()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(MAX_ORPHAN_S)
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))

    threading.Thread(target=watch, name="devflow-parent", daemon=True).start()


def read_to_end(descriptor: int) -> None:
    """Block until the other end of a pipe is closed, by its process or by that process's death."""
    while os.read(descriptor, 4096):
        pass


def end_with_us(argv: Sequence[str]) -> tuple[str, ...]:
    """Return a command line for a program that gets SIGTERM when this process dies.

    On systems other than Linux it is the given command line, and the program may outlive this
    process. The thread that starts it has to live as long as the program should run.
    """
    if sys.platform != "linux":  # pragma: no cover - seen on other systems only
        return tuple(argv)
    start = (sys.executable, "-I", "-S", "-c", _EXEC_WITH_DEATH_SIGNAL, str(os.getpid()))
    return (*start, *argv)
