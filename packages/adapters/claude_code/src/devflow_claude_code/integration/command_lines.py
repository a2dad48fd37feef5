"""Writes the command lines that Claude Code runs, and recognizes them in its settings.

Claude Code runs them with `/bin/sh -c`, in the folder of the session and with the PATH that it was
started with.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from devflow_claude_code.reading.content import get_string

_GUARD = " 2>/dev/null || true"
"""Keeps a program that is gone, as with its virtual environment, from failing in every session."""
# Recognizes our entries by how they end, so that an installation under another path, in quotes, or
# by a DevFlow that wrote no guard is found and can be undone.
_OUR_COMMAND = re.compile(
    rf"(?P<program>(?:.*[/\s'\"])?devflow['\"]?)\s+(?P<subcommand>hook|statusline)"
    rf"(?P<guard>{re.escape(_GUARD)})?",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLine:
    """A command line of DevFlow's in a settings file."""

    program: str
    """The words that call DevFlow, in shell syntax."""
    subcommand: str
    """`hook` or `statusline`."""

    @property
    def guarded(self) -> str:
        """The line as it is written: it ends with status 0 even if the program is gone."""
        return f"{self.plain}{_GUARD}"

    @property
    def plain(self) -> str:
        """The line without the guard: it shows what fails."""
        return f"{self.program} {self.subcommand}"


def read_command_line(entry: object) -> CommandLine | None:
    """Return the command line of a hook or status line; None if it is not DevFlow's."""
    found = _OUR_COMMAND.fullmatch(get_string(entry, "command"))
    if found is None:
        return None
    return CommandLine(program=found["program"], subcommand=found["subcommand"])
