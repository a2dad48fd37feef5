"""Runs the command as a process in tests, and captures its exit status and output.

Importing the command takes half a second of CPU time. One process imports it once and forks for
every run; each run is a separate process from its first statement.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, Self

from devflow_core.environment import replace_environment

RUN_TIMEOUT_S = 120.0
"""Seconds that a command may run: it takes one, but far more on a busy machine."""
_POLL_S = 0.01
"""Seconds between two looks at whether a command has written or ended."""
_PRELOADED = ("devflow_cli.main", "devflow_gateway.wiring", "devflow_server", "rich.console")
"""Modules that nearly every command imports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """The result of a command that has ended."""

    status: int
    """The exit status; negative for the signal that ended it."""
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The JSON document on stdout."""
        return json.loads(self.out)


Devflow = Callable[..., CommandResult]
"""`devflow("ask", "…")` runs a command and returns its result."""


class RunningCommand:
    """A `devflow` process.

    A context manager: leaving it kills the process if it is still running.

    Args:
        arguments: the command's, without `devflow`.
        folder: its working directory.
        environment: its whole environment; it inherits nothing.
        stdin: its whole input.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        stdin: bytes = b"",
    ) -> None:
        self._place = tempfile.TemporaryDirectory(prefix="devflow-run-")
        self._folder = Path(self._place.name)
        self._name = f"devflow {' '.join(arguments)}"
        (self._folder / "stdin").write_bytes(stdin)
        # before the run, so that reading them never fails
        for name in ("stdout", "stderr"):
            (self._folder / name).touch()
        order = {
            "arguments": list(arguments),
            "folder": str(folder),
            "environment": dict(environment),
            "place": self._place.name,
        }
        self.pid = _forks().start(order)

    @property
    def is_running(self) -> bool:
        """Whether the command is still running."""
        return not (self._folder / "status").exists()

    @property
    def out(self) -> str:
        """Everything the command has written to stdout so far."""
        return (self._folder / "stdout").read_bytes().decode("utf-8", "replace")

    @property
    def err(self) -> str:
        """Everything the command has written to stderr so far."""
        return (self._folder / "stderr").read_bytes().decode("utf-8", "replace")

    def wait_for_document(self, timeout_s: float = RUN_TIMEOUT_S) -> Any:
        """Return the JSON document that a command writes before it continues, like `serve --json`.

        Raises:
            TimeoutError: it has not written one.
            RuntimeError: it has ended instead; contains its stderr.
        """
        self._poll(lambda: self.out.rstrip().endswith("}") or not self.is_running, timeout_s)
        if not self.is_running:
            raise RuntimeError(f"{self._name} has ended: {self.err}")
        return json.loads(self.out)

    def terminate(self) -> None:
        """Ask the command to end (SIGTERM), and return at once."""
        self.send(signal.SIGTERM)

    def send(self, number: signal.Signals) -> None:
        """Send the command a signal, unless it has ended."""
        if self.is_running:
            with suppress(ProcessLookupError):  # it has ended, and its status is yet to be written
                os.kill(self.pid, number)

    def wait(self, timeout_s: float = RUN_TIMEOUT_S) -> CommandResult:
        """Wait until the command ends, and return the result.

        Raises:
            TimeoutError: it has not ended in time; it keeps running.
        """
        self._poll(lambda: not self.is_running, timeout_s)
        status = int((self._folder / "status").read_text())
        return CommandResult(status=status, out=self.out, err=self.err)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.send(signal.SIGKILL)
        self._poll(lambda: not self.is_running, RUN_TIMEOUT_S)
        self._place.cleanup()

    def _poll(self, is_so: Callable[[], bool], timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not is_so():
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"{self._name} runs for over {timeout_s:g} s: {self.err}")
            time.sleep(_POLL_S)


def run_command(
    *arguments: str, folder: Path, environment: Mapping[str, str], stdin: bytes = b""
) -> CommandResult:
    """Run `devflow` to its end, and return the result; the arguments are as of `RunningCommand`.

    Raises:
        TimeoutError: it took longer than two minutes, and was killed.
    """
    with RunningCommand(arguments, folder=folder, environment=environment, stdin=stdin) as running:
        return running.wait()


class _Forks:
    """The process that has imported the command and forks for every run."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._process = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-c", f"from {__name__} import fork_for_orders as f; f()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def start(self, order: Mapping[str, object]) -> int:
        """Start a run and return its process id; `order` contains everything it needs."""
        pipe = self._process
        assert pipe.stdin is not None  # noqa: S101 - asked for
        assert pipe.stdout is not None  # noqa: S101 - asked for
        # one order at a time, since the id that comes next belongs to it
        with self._lock:
            pipe.stdin.write(json.dumps(order).encode() + b"\n")
            pipe.stdin.flush()
            return int(pipe.stdout.readline())

    def close(self) -> None:
        """End the forking process; runs continue."""
        self._process.communicate()


@lru_cache(maxsize=1)
def _forks() -> _Forks:
    forks = _Forks()
    atexit.register(forks.close)
    return forks


def fork_for_orders() -> None:
    """Fork for each order on standard input and record exit statuses, until the input ends."""
    for name in _PRELOADED:
        __import__(name)
    places: dict[int, Path] = {}
    ended, wake_up = os.pipe()
    # The signal handler must never block. A byte in the pipe wakes `select` when a child has ended,
    # which avoids polling and the race between checking and waiting.
    os.set_blocking(wake_up, False)
    signal.set_wakeup_fd(wake_up)
    signal.signal(signal.SIGCHLD, _wake_up)
    while True:
        ready, _, _ = select.select([0, ended], [], [])
        if ended in ready:
            os.read(ended, 4096)
            _reap(places)
        if 0 in ready:
            line = sys.stdin.buffer.readline()
            if not line:
                return
            order = json.loads(line)
            pid = os.fork()
            if pid == 0:
                _become(order)
            places[pid] = Path(order["place"])
            sys.stdout.write(f"{pid}\n")
            sys.stdout.flush()


def _wake_up(_number: int, _frame: object) -> None:
    """Do nothing: Python writes to the wake-up pipe only for signals with a handler."""


def _reap(places: dict[int, Path]) -> None:
    """Record the exit statuses of runs that have ended."""
    for pid in list(places):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            place = places.pop(pid)
            (place / "status.part").write_text(str(os.waitstatus_to_exitcode(status)))
            # renamed, so that a reader never sees a half-written status
            (place / "status.part").rename(place / "status")


def _become(order: Mapping[str, Any]) -> None:
    """Turn this process into the command, with its folder, environment, arguments and streams."""
    # the command must not inherit the forking process's signal handling
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    # EX_SOFTWARE of sysexits.h, in case nothing below sets another
    status = 70
    try:
        place = Path(order["place"])
        flags = (os.O_RDONLY, os.O_WRONLY | os.O_CREAT, os.O_WRONLY | os.O_CREAT)
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            handle = os.open(place / name, flags[number], 0o600)
            os.dup2(handle, number)
            os.close(handle)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - its own
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        os.chdir(order["folder"])
        replace_environment(order["environment"])
        sys.argv = ["devflow", *order["arguments"]]
        from devflow_cli.main import run

        run()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter does with uncaught errors
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        status = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # without the clean-up of the forking process, whose files and children are not ours
        os._exit(status)
