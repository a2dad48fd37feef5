"""Reads the settings files that Claude Code merges, to see which entries are in force.

Files of the project may have come with a repository: they are read, and nothing in them is run.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from devflow_core.errors import ConfigurationError
from devflow_core.private_files import read_private_file

from devflow_claude_code.reading.rows import Json, decode_line

_MANAGED = (
    Path("/Library/Application Support/ClaudeCode/managed-settings.json")
    if sys.platform == "darwin"
    else Path("/etc/claude-code/managed-settings.json")
)
"""Settings of the machine's administrator, above all others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsFile:
    """One of the files, as far as it can be read."""

    path: Path
    settings: Json
    """The file's content; empty if it is missing or Claude Code ignores it."""
    is_damaged: bool = False
    """Whether the file exists and is not a JSON object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """The user's, the project's and the administrator's settings, weakest first."""

    files: Sequence[SettingsFile]

    @property
    def user(self) -> SettingsFile:
        """The user's own file, in which DevFlow is installed."""
        return self.files[0]

    def find_source(self, name: str) -> SettingsFile | None:
        """Return the file whose value of a setting is in force; None if no file has the setting."""
        return next((one for one in reversed(self.files) if name in one.settings), None)

    def find_off_switch(self) -> str:
        """Return which setting keeps the user's hooks and status line from running; '' for none."""
        source = self.find_source("disableAllHooks")
        if source is not None and source.settings["disableAllHooks"] is True:
            return f"`disableAllHooks` in {source.path}"
        managed = self.files[-1]
        if managed.settings.get("allowManagedHooksOnly") is True:
            return f"`allowManagedHooksOnly` in {managed.path}"
        return ""


def read_client_settings(
    config_dir: Path, project: Path, *, managed: Path = _MANAGED
) -> ClientSettings:
    """Read the settings that are in force in a project.

    Args:
        config_dir: Claude Code's folder.
        project: the folder in which Claude Code is started.
        managed: the administrator's file.
    """
    of_project = project / ".claude"
    # the user's own file may be a link, as into a repository of dotfiles
    user = (config_dir / "settings.json").resolve()
    others = (of_project / "settings.json", of_project / "settings.local.json", managed)
    # in the home folder, the project's file is the user's
    paths = (user, *(one for one in others if one.resolve() != user))
    return ClientSettings(files=tuple(read_settings_file(path) for path in paths))


def read_settings_file(path: Path) -> SettingsFile:
    """Read one file; a missing file, a link, and one that may not be read have no settings.

    A file that is not a JSON object has none either, and is marked as damaged.
    """
    try:
        content = read_private_file(path)
    except (OSError, ValueError, ConfigurationError):
        return SettingsFile(path=path, settings={})
    body = decode_line(content) if content.strip() else {}
    return SettingsFile(path=path, settings=body or {}, is_damaged=body is None)
