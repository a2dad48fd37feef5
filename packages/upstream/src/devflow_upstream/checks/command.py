"""Runs a program of the user's own on an answer, on the machine of whoever asked."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path

from devflow_core.environment import copy_environment
from devflow_core.errors import ConfigurationError
from devflow_core.ports import Panel
from devflow_core.processes import end_with_us
from devflow_core.request import ChatRequest
from devflow_core.verification import CheckedAnswer, Verdict

from devflow_upstream.checks.code import find_code

MAX_OUTPUT_BYTES = 4_000
"""The end of the program's output that is kept, for people."""
_SUFFIXES = {"python": ".py", "py": ".py", "json": ".json", "javascript": ".js", "bash": ".sh"}


class CommandCheck:
    """Accepts an answer if a program exits with status 0; its output is shown, never recorded.

    Args:
        argv: the program and its arguments; see `Verification.command`.
        timeout_s: the seconds after which it is killed, and the answer counts as refused.

    Raises:
        ConfigurationError: there is no such program.
    """

    name = "command"

    def __init__(self, argv: Sequence[str], timeout_s: float) -> None:
        self._environment = copy_environment()
        program = shutil.which(argv[0], path=self._environment.get("PATH"))
        if program is None:
            raise ConfigurationError(
                f"verify: there is no program {argv[0]!r}. Correct it, or give its whole path."
            )
        self._argv = (program, *argv[1:])
        self._timeout_s = timeout_s

    async def judge(
        self, _request: ChatRequest, answer: CheckedAnswer, _panel: Panel, /
    ) -> Verdict | None:
        if answer.tool_calls:
            return None
        with tempfile.TemporaryDirectory(prefix="devflow-verify-") as folder:
            argv = [_fill(one, answer, Path(folder)) for one in self._argv]
            try:
                status, output = await self._run(argv, answer.text.encode())
            except TimeoutError:
                reason = f"it did not end within {self._timeout_s:g} s"
                return Verdict(is_accepted=False, reason=reason)
            except OSError as error:
                reason = "it could not be started"
                return Verdict(
                    is_accepted=False, is_undecided=True, reason=reason, detail=str(error)
                )
        return Verdict(
            is_accepted=status == 0, reason=f"it ended with {status}", detail=output.strip()
        )

    async def _run(self, argv: Sequence[str], text: bytes) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            *end_with_us(argv),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self._environment,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(self._timeout_s):
                writing = asyncio.ensure_future(_write(process, text))
                output = await _read_end(process)
                await writing
                status = await process.wait()
        finally:
            _kill_group(process)
            await process.wait()
        return status, output


def _fill(argument: str, answer: CheckedAnswer, folder: Path) -> str:
    """Return the argument with the files that it names; they are written here."""
    if "{answer}" in argument:
        file = folder / "answer.txt"
        file.write_text(answer.text, encoding="utf-8")
        argument = argument.replace("{answer}", str(file))
    if "{code}" in argument:
        blocks = list(find_code(answer.text)) or [("", answer.text)]
        file = folder / f"answer_code{_SUFFIXES.get(blocks[0][0].lower(), '.txt')}"
        file.write_text("\n".join(code for _language, code in blocks), encoding="utf-8")
        argument = argument.replace("{code}", str(file))
    return argument


async def _write(process: asyncio.subprocess.Process, text: bytes) -> None:
    assert process.stdin is not None  # noqa: S101 - a pipe was asked for
    try:
        process.stdin.write(text)
        await process.stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        return  # it does not read
    finally:
        process.stdin.close()


async def _read_end(process: asyncio.subprocess.Process) -> str:
    """Return the end of what the program writes, however much that is."""
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    kept = b""
    while piece := await process.stdout.read(65_536):
        kept = (kept + piece)[-MAX_OUTPUT_BYTES:]
    return kept.decode(errors="replace")


def _kill_group(process: asyncio.subprocess.Process) -> None:
    """Kill the program and what it has started, if anything of that is left."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
