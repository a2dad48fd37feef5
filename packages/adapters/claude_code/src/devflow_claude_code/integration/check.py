"""Checks what `devflow integrate` wrote, by running it as Claude Code does."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import orjson
from devflow_core.environment import copy_environment
from devflow_core.masking import escape_invisible, mask

from devflow_claude_code.integration.client_settings import (
    ClientSettings,
    SettingsFile,
    read_client_settings,
    read_settings_file,
)
from devflow_claude_code.integration.command_lines import CommandLine, read_command_line
from devflow_claude_code.integration.entries import list_hooks
from devflow_claude_code.integration.hooks import HOOK_EVENTS
from devflow_claude_code.reading.content import get_object, get_string
from devflow_claude_code.reading.rows import Json, decode_line

MAX_RUN_S = 30.0
"""Seconds that one run may take; hook and status line themselves give up much earlier."""
_SURE_PATH = "/usr/bin:/bin"
"""The PATH of a run: Claude Code may have been started with less than this terminal's."""
_AGAIN = "Run `devflow integrate` again."
_SERVER_AGAIN = "Run `devflow integrate --mcp` again."
_VARIABLE = re.compile(r"\$\{(?P<name>[^}:]+)(?::-(?P<default>[^}]*))?\}")
"""A variable in a `.mcp.json`, as Claude Code replaces it (seen with 2.0.77 to 2.1.332)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegrationFinding:
    """The result of checking one of DevFlow's entries."""

    name: str
    """`hooks`, `statusline` or `mcp`; `integration` if none is installed or the file is damaged."""
    is_ok: bool
    detail: str
    """The finding in words; for a fault, also what to do."""


@dataclass(frozen=True, slots=True)
class _Self:
    """This DevFlow, with which the installed one is compared."""

    program: Path
    version: str
    search_path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """A program that has ended."""

    status: int
    stdout: bytes
    stderr: bytes


def check_integration(
    *, config_dir: Path, project: Path, program: Path, version: str, search_path: str
) -> list[IntegrationFinding]:
    """Check the hooks and status line of the user's settings, and the project's MCP server.

    The status line and every different hook are run once; a program other than this one is asked
    for its version. Nothing is written. If nothing is installed, or the user's settings are
    damaged, the only finding says so.

    Args:
        config_dir: Claude Code's folder.
        project: the folder in which Claude Code is started.
        program: this DevFlow's own program file.
        version: this DevFlow's version, as `devflow --version` prints it after the name.
        search_path: the PATH on which Claude Code may find MCP servers, without folders of an
            environment that is active in this process only.
    """
    settings = read_client_settings(config_dir, project)
    server = read_settings_file(project / ".mcp.json")
    if settings.user.is_damaged:
        fault = f"{settings.user.path} is not a JSON object, so Claude Code ignores it. Mend it."
        return [IntegrationFinding(name="integration", is_ok=False, detail=fault)]
    this = _Self(program, version, search_path)
    found = [
        *_check_hooks(settings, project, this),
        *_check_status_line(settings, this),
        *_check_server(settings, server, this),
    ]
    detail = "not installed; `devflow integrate` adds hooks and a status line to Claude Code"
    return found or [IntegrationFinding(name="integration", is_ok=True, detail=detail)]


def _check_hooks(
    settings: ClientSettings, project: Path, this: _Self
) -> Iterator[IntegrationFinding]:
    lines = {event: list(_list_lines(settings.user.settings, event)) for event in HOOK_EVENTS}
    if not any(lines.values()):
        return
    event = {
        "hook_event_name": "SessionStart",
        "source": "startup",
        "session_id": "devflow-doctor",
        "cwd": str(project),
    }
    missing = [event for event, found in lines.items() if not found]
    if switch := settings.find_off_switch():
        fault = f"turned off by {switch}. Remove it there."
    elif missing:
        fault = f"there is none at {', '.join(missing)}. {_AGAIN}"
    else:
        # the same line stands at every event
        distinct = {one.plain: one for found in lines.values() for one in found}
        faults = (_find_fault(one, event, _is_hook_reply, this) for one in distinct.values())
        fault = next((one for one in faults if one), "")
    names = ", ".join(lines)
    yield IntegrationFinding(name="hooks", is_ok=not fault, detail=fault or f"work at {names}")


def _list_lines(settings: Json, event: str) -> Iterator[CommandLine]:
    groups = get_object(settings, "hooks").get(event)
    for group in cast("list[object]", groups) if isinstance(groups, list) else []:
        for hook in list_hooks(group):
            if line := read_command_line(hook):
                yield line


def _check_status_line(settings: ClientSettings, this: _Self) -> Iterator[IntegrationFinding]:
    line = read_command_line(settings.user.settings.get("statusLine"))
    if line is None:
        return
    source = settings.find_source("statusLine")
    if switch := settings.find_off_switch():
        fault = f"turned off by {switch}. Remove it there."
    elif source is not None and source is not settings.user:
        fault = f"{source.path} has another, which is shown in this project instead."
    else:
        event = {"session_id": "devflow-doctor", "model": {"display_name": "Model"}}
        fault = _find_fault(line, event, _is_status_line, this)
    yield IntegrationFinding(name="statusline", is_ok=not fault, detail=fault or "is shown")


def _check_server(
    settings: ClientSettings, file: SettingsFile, this: _Self
) -> Iterator[IntegrationFinding]:
    servers = get_object(file.settings, "mcpServers")
    if "devflow" not in servers:
        return
    command = _replace_variables(get_string(servers["devflow"], "command"), copy_environment())
    found = shutil.which(command, path=this.search_path)
    detail, fault = f"{command} is found", ""
    if source := next((one for one in settings.files if _refuses_server(one.settings)), None):
        fault = f"turned off by `disabledMcpjsonServers` in {source.path}. Remove it there."
    elif found is None:
        fault = f"{file.path} names {command}, which cannot be started. {_SERVER_AGAIN}"
    elif "/" not in command:
        # only the name is from the file; the PATH on which it is found is the user's
        fault = _find_version_fault(shlex.quote(found), this, _SERVER_AGAIN)
    elif Path(found).resolve() != this.program.resolve():
        # never run what a file names that may have come with a repository
        detail = f"{command} exists; it is not this DevFlow, so it was not run"
    yield IntegrationFinding(name="mcp", is_ok=not fault, detail=fault or detail)


def _refuses_server(settings: Json) -> bool:
    refused = settings.get("disabledMcpjsonServers")
    return isinstance(refused, list) and "devflow" in refused


def _replace_variables(text: str, environment: Mapping[str, str]) -> str:
    """Return the text with `${NAME}` and `${NAME:-default}` replaced; what is unset stays."""

    def replace(found: re.Match[str]) -> str:
        return environment.get(found["name"]) or found["default"] or found[0]

    return _VARIABLE.sub(replace, text)


def _find_fault(
    line: CommandLine, event: Json, is_answer: Callable[[bytes], bool], this: _Self
) -> str:
    """Return what is wrong with a command line, and what to do; '' if it works."""
    try:
        program = shlex.split(line.program)[0]
    except ValueError:
        return f"`{line.plain}` is not quoted as a shell reads it. {_AGAIN}"
    done = _run(line.plain, orjson.dumps(event))
    if done is None:
        return f"`{line.plain}` has not ended within {MAX_RUN_S:.0f} seconds."
    if done.status != 0:
        return f"{_explain_failure(line, program, done)} {_AGAIN}"
    if not is_answer(done.stdout):
        return f"`{line.plain}` gives no answer that Claude Code takes. {_AGAIN}"
    return _find_version_fault(line.program, this, _AGAIN)


def _find_version_fault(program: str, this: _Self, advice: str) -> str:
    """Return how a program, in shell syntax, differs from this DevFlow; '' for the same version."""
    if Path(shlex.split(program)[0]).resolve() == this.program.resolve():
        return ""
    done = _run(f"{program} --version", b"")
    answer = "" if done is None else done.stdout.decode(errors="replace").strip()
    if answer == f"devflow {this.version}":
        return ""
    other = escape_invisible(answer[:80]) or "no DevFlow that can be started"
    return f"{program} is {other}, and this is devflow {this.version}. {advice}"


def _explain_failure(line: CommandLine, program: str, done: _Run) -> str:
    if "/" not in program:
        return f"`{program}` is not on every PATH with which Claude Code may be started."
    # unlike Path.exists, it takes names that no file can have
    if not os.path.exists(program):
        return f"{program} does not exist."
    if not os.access(program, os.X_OK):
        return f"{program} is not executable."
    last = (done.stderr.decode(errors="replace").strip().splitlines() or [""])[-1]
    return f"`{line.plain}` fails with status {done.status}: {escape_invisible(mask(last[:500]))}."


def _is_hook_reply(stdout: bytes) -> bool:
    return not stdout.strip() or decode_line(stdout) is not None


def _is_status_line(stdout: bytes) -> bool:
    return stdout.startswith(b"DevFlow")


def _run(command: str, stdin: bytes) -> _Run | None:
    """Run a command line as Claude Code does; None if it has not ended in time.

    It runs outside of any project, with little on its PATH: it must work from anywhere.
    """
    process = subprocess.Popen(  # noqa: S603 - a command line of the user's own settings
        ["/bin/sh", "-c", command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd="/",
        env={**copy_environment(), "PATH": _SURE_PATH},
        # a group of its own, so that what the shell has started can be ended with it
        start_new_session=True,
    )
    try:
        stdout, stderr = process.communicate(stdin, MAX_RUN_S)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    return _Run(status=process.returncode, stdout=stdout, stderr=stderr)
