"""For tests of the command: runs it as a process, and tells how it ended and what it wrote."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from devflow_core.environment import replace_environment

RUN_TIMEOUT_S = 120.0
"""A command takes a second; a busy machine much longer."""
_POLL_S = 0.01
_PRELOADED = ("devflow_cli.main", "devflow_gateway.wiring", "devflow_server", "rich.console")
"""What nearly every command imports: done once, instead of half a second for each run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """A command that has ended."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


Devflow = Callable[..., CommandResult]
"""`devflow("ask", "…")` runs a command and returns how it ended."""


class RunningCommand:
    """`devflow` in a process of its own, forked from one that has imported it already.

    A context manager: left, the process is killed if it still runs.

    Args:
        arguments: of the command.
        folder: where it is run.
        environment: all of it.
        stdin: what it reads.
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
        self._arguments = tuple(arguments)
        files = [Path(self._place.name, name) for name in ("stdin", "stdout", "stderr")]
        self._files = files
        files[0].write_bytes(stdin)
        for file in files[1:]:
            file.touch()
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(_PRELOADED))
        self._child = context.Process(
            target=_run_child, args=(self._arguments, folder, dict(environment), files)
        )
        self._child.start()

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self._child.pid is not None  # noqa: S101 - it was started
        return self._child.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._child.is_alive()

    @property
    def out(self) -> str:
        """What it has written to stdout so far."""
        return self._files[1].read_bytes().decode("utf-8", "replace")

    @property
    def err(self) -> str:
        """What it has written to stderr so far."""
        return self._files[2].read_bytes().decode("utf-8", "replace")

    def wait_for_document(self, timeout_s: float = RUN_TIMEOUT_S) -> Any:
        """The JSON document that a command writes before it goes on, as `serve --json` does.

        Raises:
            TimeoutError: it has written none.
            RuntimeError: it has ended instead; holds what it said.
        """
        deadline_s = time.monotonic() + timeout_s
        while not self.out.rstrip().endswith("}"):
            if not self.is_running:
                raise RuntimeError(f"devflow {' '.join(self._arguments)} has ended: {self.err}")
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"devflow {' '.join(self._arguments)} has written no document")
            time.sleep(_POLL_S)
        return json.loads(self.out)

    def terminate(self) -> None:
        """Ask it to end."""
        self._child.terminate()

    def wait(self, timeout_s: float = RUN_TIMEOUT_S) -> CommandResult:
        """How it ended.

        Raises:
            TimeoutError: it has not; it runs on.
        """
        self._child.join(timeout_s)
        if self._child.is_alive():
            raise TimeoutError(f"devflow {' '.join(self._arguments)} runs for over {timeout_s:g} s")
        status = self._child.exitcode
        return CommandResult(status=-1 if status is None else status, out=self.out, err=self.err)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._child.is_alive():
            self._child.kill()
        self._child.join()
        self._child.close()
        self._place.cleanup()


def run_command(
    *arguments: str, folder: Path, environment: Mapping[str, str], stdin: bytes = b""
) -> CommandResult:
    """Run `devflow` to its end; the arguments are those of `RunningCommand`.

    Raises:
        TimeoutError: it took over two minutes, and was killed.
    """
    with RunningCommand(arguments, folder=folder, environment=environment, stdin=stdin) as running:
        return running.wait()


def _run_child(
    arguments: tuple[str, ...], folder: Path, environment: dict[str, str], files: list[Path]
) -> None:
    """Become the command: its folder, environment, arguments and standard streams."""
    flags = (os.O_RDONLY, os.O_WRONLY | os.O_CREAT, os.O_WRONLY | os.O_CREAT)
    for number, (file, flag) in enumerate(zip(files, flags, strict=True)):
        handle = os.open(file, flag, 0o600)
        os.dup2(handle, number)
        os.close(handle)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - the process's own
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    os.chdir(folder)
    replace_environment(environment)
    sys.argv = ["devflow", *arguments]
    from devflow_cli.main import run

    try:
        run()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
