"""For tests of the command: runs it as a process, and tells how it ended and what it wrote."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devflow_core.environment import replace_environment

RUN_TIMEOUT_S = 120.0
"""A command takes a second; a busy machine much longer."""
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


def run_command(
    *arguments: str,
    folder: Path,
    environment: Mapping[str, str],
    stdin: bytes = b"",
    timeout_s: float = RUN_TIMEOUT_S,
) -> CommandResult:
    """Run `devflow` in a process of its own, forked from one that has imported it already.

    Args:
        arguments: of the command.
        folder: where it is run.
        environment: all of it.
        stdin: what it reads.
        timeout_s: after so long it is killed.

    Raises:
        TimeoutError: it had to be killed.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    with tempfile.TemporaryDirectory(prefix="devflow-run-") as place:
        files = [Path(place, name) for name in ("stdin", "stdout", "stderr")]
        files[0].write_bytes(stdin)
        child = context.Process(
            target=_run_child, args=(arguments, folder, dict(environment), files)
        )
        child.start()
        child.join(timeout_s)
        if child.is_alive():
            child.kill()
            child.join()
            raise TimeoutError(f"devflow {' '.join(arguments)} ran for {timeout_s:g} s")
        out, err = (file.read_bytes().decode("utf-8", "replace") for file in files[1:])
        status = child.exitcode
        child.close()
    return CommandResult(status=-1 if status is None else status, out=out, err=err)


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
