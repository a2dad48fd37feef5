"""Adds DevFlow's entries to Claude Code's settings; finds and removes those of any DevFlow."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, Literal, cast

from devflow_core.errors import ConfigurationError

from devflow_claude_code.integration.command_lines import CommandLine, read_command_line
from devflow_claude_code.integration.hooks import HOOK_EVENTS
from devflow_claude_code.reading.content import get_object, get_string
from devflow_claude_code.reading.rows import Json

Feature = Literal["hooks", "statusline", "mcp"]
_HOOK_TIMEOUT_S = 10
"""Seconds that Claude Code waits for our hook; the hook itself gives up a little earlier."""


def add_entries(feature: Feature, path: Path, settings: Json, command: str) -> None:
    """Add a feature's entries to the settings, or make existing ones call DevFlow by `command`.

    Args:
        feature: `mcp` belongs in a `.mcp.json`, the others into a `settings.json`.
        path: the file, for messages.
        settings: its content, which is changed.
        command: how DevFlow is called, in shell syntax.

    Raises:
        ConfigurationError: the settings do not have the expected form, another program's status
            line or server is in its place, or a `.mcp.json` cannot express the command.
    """
    _ADD_FEATURE[feature](path, settings, command)


def _add_hooks(path: Path, settings: Json, command: str) -> None:
    hooks = settings.setdefault("hooks", {})
    if not isinstance(hooks, dict):
        raise ConfigurationError(f"{path}: `hooks` is not an object; nothing was changed.")
    line = CommandLine(program=command, subcommand="hook").guarded
    ours = {"type": "command", "command": line, "timeout": _HOOK_TIMEOUT_S}
    for event in HOOK_EVENTS:
        groups = cast("dict[str, Any]", hooks).setdefault(event, [])
        if not isinstance(groups, list):
            raise ConfigurationError(f"{path}: `hooks.{event}` is not a list; nothing was changed.")
        entries = cast("list[Any]", groups)
        known = [hook for group in entries for hook in list_hooks(group) if _is_ours(hook)]
        for hook in known:
            hook["command"] = line
        if not known:
            entries.append({"hooks": [ours]})


def _add_status_line(path: Path, settings: Json, command: str) -> None:
    line = get_object(settings, "statusLine")
    if line and not _is_ours(line):
        raise ConfigurationError(
            f"{path} already has a status line ({get_string(line, 'command')}); remove it first, or"
            " install without the status line."
        )
    ours = CommandLine(program=command, subcommand="statusline").guarded
    # what the user has added to ours, such as its padding, stays
    settings["statusLine"] = {"type": "command", **line, "command": ours}


def _add_server(path: Path, settings: Json, command: str) -> None:
    program, *words = shlex.split(command)
    if "${" in command:
        raise ConfigurationError(
            f"{path} cannot name {program}: Claude Code takes ${{…}} for a variable. Rename the"
            " folder, or put `devflow` on the PATH."
        )
    ours = {"type": "stdio", "command": program, "args": [*words, "mcp"]}
    servers = settings.setdefault("mcpServers", {})
    if not isinstance(servers, dict):
        raise ConfigurationError(f"{path}: `mcpServers` is not an object; nothing was changed.")
    known = cast("dict[str, Any]", servers).setdefault("devflow", ours)
    if known != ours and not _is_our_server(known):
        raise ConfigurationError(f"{path} has another MCP server named devflow; rename it first.")
    known |= ours


_ADD_FEATURE = {"hooks": _add_hooks, "statusline": _add_status_line, "mcp": _add_server}


def remove_entries(settings: Json) -> None:
    """Remove every entry of DevFlow's from the settings, and the objects and lists left empty."""
    hooks = get_object(settings, "hooks")
    for event, groups in list(hooks.items()):
        if isinstance(groups, list):
            entries = cast("list[Any]", groups)
            hooks[event] = [group for group in entries if not _remove_our_hooks(group)]
            # an event that was an empty list before stays one
            if entries and not hooks[event]:
                del hooks[event]
    if not hooks:
        settings.pop("hooks", None)
    if _is_ours(settings.get("statusLine")):
        del settings["statusLine"]
    servers = get_object(settings, "mcpServers")
    if _is_our_server(servers.get("devflow")):
        del servers["devflow"]
        if not servers:
            del settings["mcpServers"]


def list_hooks(group: object) -> list[Any]:
    """Return the hooks of a group: the list itself, not a copy; a new empty one if it has none."""
    hooks = cast("Json", group).get("hooks") if isinstance(group, dict) else None
    return cast("list[Any]", hooks) if isinstance(hooks, list) else []


def _remove_our_hooks(group: object) -> bool:
    """Remove our hooks from a group; return whether that has left the group without any."""
    hooks = list_hooks(group)
    others = [hook for hook in hooks if not _is_ours(hook)]
    if len(others) < len(hooks):
        hooks[:] = others
        return not others
    return False


def _is_ours(entry: object) -> bool:
    return read_command_line(entry) is not None


def _is_our_server(entry: object) -> bool:
    """Return whether a server is one that some DevFlow has written, under whatever path."""
    name = get_string(entry, "command").rpartition("/")[2]
    return name == "devflow" and cast("Json", entry).get("args") == ["mcp"]
