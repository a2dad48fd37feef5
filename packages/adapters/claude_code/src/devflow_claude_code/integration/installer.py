"""Installs hooks, status line and MCP server in a settings file, and restores it byte for byte.

A change is planned first, so that it can be shown; nothing is written until it is applied.
"""

from __future__ import annotations

import difflib
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from devflow_core.errors import ConfigurationError
from devflow_core.private_files import ensure_private_folder, read_private_file, replace_file

from devflow_claude_code.integration.entries import Feature, add_entries, remove_entries
from devflow_claude_code.reading.content import get_string
from devflow_claude_code.reading.rows import Json, decode_line

_COPIES_FOLDER = "before-integrate"
"""Subfolder of the data folder; holds the files' contents from before DevFlow changed them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsChange:
    """The planned change of one file."""

    path: Path
    """The real file, never a link: if the user's file was a link, its target."""
    before: bytes | None
    """The file's content before the change; None: the file does not exist."""
    after: bytes | None
    """The file's content after the change; None: the file is deleted."""
    backup: bytes | None
    """Content of the backup that allows the undo; None: no backup remains afterwards."""
    backup_path: Path
    """The backup: in the data folder, out of reach of anyone who can write beside the file."""

    @property
    def is_needed(self) -> bool:
        """Whether the file changes."""
        return self.before != self.after

    @property
    def diff(self) -> str:
        """The change as a unified diff; empty if nothing changes."""
        name = str(self.path)
        return "".join(
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
            for line in difflib.unified_diff(
                _split_lines(self.before),
                _split_lines(self.after),
                name if self.before is not None else "/dev/null",
                name if self.after is not None else "/dev/null",
            )
        )

    def apply(self) -> None:
        """Write the file and its backup, or delete those that the plan deletes.

        Raises:
            ConfigurationError: the file has changed since the change was planned, is a link, or
                cannot be written; or the data folder is accessible to other users. If the backup
                could not be written, the file is as it was.
        """
        if _read(self.path) != self.before:
            raise ConfigurationError(f"{self.path} has changed since then; run the command again.")
        try:
            # The backup comes first: if the process dies between the two writes, the undo must
            # still be possible.
            for folder in (self.backup_path.parent.parent, self.backup_path.parent):
                ensure_private_folder(folder)
            replace_file(self.backup_path, self.backup)
            replace_file(self.path, self.after)
        except OSError as error:
            raise ConfigurationError(
                f"{self.path}: cannot be written: {error.strerror}."
            ) from error


def plan_install(
    path: Path,
    *,
    data_dir: Path,
    command: str = "devflow",
    features: Sequence[Feature] = ("hooks", "statusline"),
) -> SettingsChange:
    """Plan adding hooks and status line to a `settings.json`, or the MCP server to a `.mcp.json`.

    Nothing is written yet. Existing entries stay: other hooks are kept beside ours, and another
    program's status line or server is not replaced. Entries of ours that call DevFlow in another
    way, such as those of an older version, are replaced.

    Args:
        path: the file; it need not exist, and must not be a link.
        data_dir: DevFlow's own folder, where the backup is kept.
        command: how DevFlow is called, in shell syntax; ends in `devflow`. Hooks and status line
            need a path, unless every shell that may start Claude Code finds the name.
        features: `mcp` belongs in its own kind of file.

    Raises:
        ConfigurationError: the file is a link, cannot be read, is not a JSON object of the
            expected form, or already has another status line or another server named `devflow`;
            or the backup is damaged.
    """
    before = _read(path)
    settings = _parse_settings(path, before)
    for feature in features:
        add_entries(feature, path, settings, command)
    after = (
        before if settings == _parse_settings(path, before) else _encode_settings(settings, before)
    )
    copy = _backup_path(path, data_dir)
    backup = _read_backup(copy)
    # A second installation must not take the result of the first for the original. If the file is
    # as we left it, the old backup holds the original; otherwise it is the file without our
    # entries.
    if backup is not None and backup[0] == _digest(before):
        original = backup[1]
    else:
        original = _strip_ours(path, before)
    return SettingsChange(
        path=path,
        before=before,
        after=after,
        backup=_encode_backup(path, after, original),
        backup_path=copy,
    )


def plan_undo(path: Path, *, data_dir: Path) -> SettingsChange:
    """Plan restoring the bytes from before the installation.

    Nothing is written yet. If the file has been changed since, or there is no backup, only our own
    entries are removed; without any, the change is not needed.

    Raises:
        ConfigurationError: the file is a link, cannot be read, or is not a JSON object; or the
            backup is damaged.
    """
    copy = _backup_path(path, data_dir)
    before, backup = _read(path), _read_backup(copy)
    # unchanged since our installation: the original bytes can be restored exactly
    if backup is not None and backup[0] == _digest(before):
        return SettingsChange(
            path=path, before=before, after=backup[1], backup=None, backup_path=copy
        )
    after = _strip_ours(path, before)
    return SettingsChange(path=path, before=before, after=after, backup=None, backup_path=copy)


def _strip_ours(path: Path, content: bytes | None) -> bytes | None:
    """Return the content without our entries; unchanged without any, so that None stays None."""
    settings = _parse_settings(path, content)
    remove_entries(settings)
    if settings == _parse_settings(path, content):
        return content
    return _encode_settings(settings, content)


def _parse_settings(path: Path, content: bytes | None) -> Json:
    if content is None or not content.strip():
        return {}
    body = decode_line(content)
    if body is None:
        raise ConfigurationError(f"{path} is not a JSON object; nothing was changed.")
    return body


def _encode_settings(settings: Json, like: bytes | None) -> bytes:
    """Encode the settings as JSON, indented like the file."""
    indent = re.search(rb"\n([ \t]+)\"", like or b"")
    by = indent.group(1).decode() if indent else "  "
    return json.dumps(settings, indent=by, ensure_ascii=False).encode() + b"\n"


def _backup_path(path: Path, data_dir: Path) -> Path:
    return data_dir / _COPIES_FOLDER / f"{sha256(str(path.absolute()).encode()).hexdigest()}.json"


def _read_backup(copy: Path) -> tuple[str, bytes | None] | None:
    """Return the digest of what was installed and the content before it; None without a backup.

    Raises:
        ConfigurationError: the backup cannot be read, or is damaged.
    """
    content = _read(copy)
    if content is None:
        return None
    body = decode_line(content) or {}
    before = body.get("before_base64")
    try:
        original = None if before is None else b64decode(before)
    except (TypeError, ValueError):
        raise ConfigurationError(
            f"{copy} is damaged. Delete it; then only DevFlow's own entries are removed."
        ) from None
    return get_string(body, "installed_sha256"), original


def _encode_backup(path: Path, installed: bytes | None, original: bytes | None) -> bytes:
    body = {
        "about": "What DevFlow has changed in this file; needed to undo it.",
        "path": str(path.absolute()),
        "installed_sha256": _digest(installed),
        "before_base64": b64encode(original).decode() if original is not None else None,
    }
    return json.dumps(body, indent=2).encode() + b"\n"


def _digest(content: bytes | None) -> str:
    return sha256(content or b"").hexdigest()


def _split_lines(content: bytes | None) -> list[str]:
    return (content or b"").decode("utf-8", "replace").splitlines(keepends=True)


def _read(path: Path) -> bytes | None:
    try:
        return read_private_file(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}.") from error
