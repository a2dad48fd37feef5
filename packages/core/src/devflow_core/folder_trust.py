"""Decides which settings of a working directory are taken: taste always, the rest when trusted.

A folder may have come from anywhere. Whatever names a host, a command, a folder, a key or a file,
or spends money, is taken from its `devflow.toml` only after the user has agreed. The answer is
remembered by the file's path and hash, so that a changed file is asked about again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

from devflow_core.errors import ConfigurationError
from devflow_core.private_files import read_private_file, replace_file
from devflow_core.settings_sources import SETTINGS_FILE, parse_settings, read_settings

TRUST_FILE = "trusted-folders.json"
"""The record's name in the user's configuration folder."""
_MASK = "********"
_Table = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taste:
    """Marks a setting that the file of a working directory may set without asking."""

    columns: tuple[str, ...] = ()
    """The columns that are taken from a table of tables; empty: the whole setting is taken."""
    is_ceiling: bool = False
    """Whether a value counts only if it is stricter than the user's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSettings:
    """The `devflow.toml` of a folder, read once, so that what is trusted is what is used."""

    path: Path
    """The absolute path."""
    digest: str
    """The SHA-256 of its bytes, in hex."""
    values: _Table
    """The settings by name, as the file has them; not checked yet."""

    @classmethod
    def read(cls, folder: Path) -> FolderSettings | None:
        """Read the file of a folder; return None if it has none.

        Raises:
            ConfigurationError: the file cannot be read, is too large, or is not TOML.
        """
        path = folder / SETTINGS_FILE
        if not path.is_file():
            return None
        content = read_settings(path)
        try:
            whole = folder.resolve() / SETTINGS_FILE
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from None
        return cls(
            path=whole, digest=sha256(content).hexdigest(), values=parse_settings(path, content)
        )

    def taste(self, marks: Mapping[str, Taste]) -> dict[str, object]:
        """Return the settings that are taken without asking, except ceilings."""
        return {
            name: value if not marks[name].columns else _only_columns(value, marks[name].columns)
            for name, value in self.values.items()
            if name in marks and not marks[name].is_ceiling
        }

    def ceilings(self, marks: Mapping[str, Taste]) -> dict[str, object]:
        """Return the settings that count only if they are stricter than the user's own."""
        return {
            name: value
            for name, value in self.values.items()
            if name in marks and marks[name].is_ceiling
        }

    def beyond_taste(self, marks: Mapping[str, Taste]) -> tuple[str, ...]:
        """Return the names of settings that need trust, as they are spelled in the file."""
        return tuple(_find_beyond(self.values, marks))


def describe_settings(values: _Table, secrets: Collection[str]) -> list[str]:
    """Return one line `name = value` for each setting, in ASCII.

    Args:
        values: the settings by name.
        secrets: the names of those whose value is masked.
    """
    return [
        f"{_show(name)[1:-1]} = {_MASK if name in secrets else _show(value)}"
        for name, value in values.items()
    ]


def _show(value: object) -> str:
    return json.dumps(value, default=str).replace("\x7f", "\\u007f")


def _find_beyond(values: _Table, marks: Mapping[str, Taste]) -> Iterator[str]:
    for name, value in values.items():
        if name not in marks:
            yield name
        elif marks[name].columns and isinstance(value, Mapping):
            for row, columns in _rows(cast("_Table", value)):
                strange = (one for one in columns if one not in marks[name].columns)
                yield from (_show(f"{name}.{row}.{one}")[1:-1] for one in strange)


def _only_columns(value: object, wanted: tuple[str, ...]) -> object:
    if not isinstance(value, Mapping):
        return value  # reported later, when the settings are checked
    return {
        row: {one: columns[one] for one in wanted if one in columns}
        for row, columns in _rows(cast("_Table", value))
    }


def _rows(table: _Table) -> Iterator[tuple[str, _Table]]:
    for row, columns in table.items():
        if isinstance(columns, Mapping):
            yield row, cast("_Table", columns)


class TrustedFolders:
    """The user's answers about the files of folders: trusted, refused, or not asked yet.

    Args:
        config_dir: the user's configuration folder; None: nothing can be remembered.
    """

    def __init__(self, config_dir: Path | None) -> None:
        self._path = None if config_dir is None else config_dir / TRUST_FILE

    def answer(self, file: FolderSettings) -> bool | None:
        """Return the answer for exactly this file; None if there is none or the file has changed.

        Raises:
            ConfigurationError: the record cannot be read.
        """
        said = self._read().get(str(file.path))
        return bool(said["trusted"]) if said and said["sha256"] == file.digest else None

    def remember(self, file: FolderSettings, *, is_trusted: bool) -> None:
        """Remember the user's answer for this file.

        Raises:
            ConfigurationError: the record cannot be read or written, or there is no `config_dir`.
        """
        said = {"sha256": file.digest, "trusted": is_trusted}
        self._write({**self._read(), str(file.path): said})

    def forget(self, folder: Path) -> bool:
        """Forget the answer for a folder's file; return whether there was one.

        Args:
            folder: its absolute path, with links resolved.

        Raises:
            ConfigurationError: the record cannot be read or written.
        """
        known = dict(self._read())
        if known.pop(str(folder / SETTINGS_FILE), None) is None:
            return False
        self._write(known)
        return True

    def list_trusted(self) -> list[Path]:
        """Return the files that are trusted as long as they do not change.

        Raises:
            ConfigurationError: the record cannot be read.
        """
        return [Path(path) for path, said in self._read().items() if said["trusted"]]

    def _read(self) -> Mapping[str, Mapping[str, Any]]:
        if self._path is None:
            return {}
        try:
            known = json.loads(read_private_file(self._path))["folders"]
            if all(one.keys() >= {"sha256", "trusted"} for one in known.values()):
                return known
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise ConfigurationError(f"{self._path} cannot be read: {error.strerror}.") from None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            pass
        raise ConfigurationError(f"{self._path} is damaged. Delete it; folders are asked anew.")

    def _write(self, known: Mapping[str, Mapping[str, Any]]) -> None:
        if self._path is None:
            raise ConfigurationError("Nothing can be remembered without a home; set HOME.")
        try:
            replace_file(self._path, json.dumps({"folders": known}, indent=2).encode() + b"\n")
        except OSError as error:
            raise ConfigurationError(f"{self._path} cannot be written: {error.strerror}.") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderQuestion:
    """The question whether all of a folder's file is taken, or only its taste."""

    file: FolderSettings
    left_out: tuple[str, ...]
    """Names of the settings that are taken only if the answer is yes."""
    folders: TrustedFolders
    secrets: frozenset[str] = frozenset()
    """Names of the settings whose values are never shown."""

    @property
    def answer(self) -> bool | None:
        """The user's answer for exactly this file; None if there is none yet.

        Raises:
            ConfigurationError: the record cannot be read.
        """
        return self.folders.answer(self.file)

    def remember(self, *, is_trusted: bool) -> None:
        """Remember the answer for as long as the file does not change.

        Raises:
            ConfigurationError: the record cannot be read or written, or has no place.
        """
        self.folders.remember(self.file, is_trusted=is_trusted)

    def describe(self) -> list[str]:
        """Return every setting of the file, one line each, with its value unless it is secret."""
        return describe_settings(self.file.values, self.secrets)

    @property
    def remark(self) -> str:
        """A sentence for the user: what is left out, and that `devflow trust` accepts it."""
        path, names = _show(str(self.file.path))[1:-1], ", ".join(self.left_out)
        return (
            f"{path} also sets {names}: left out, since a folder may set taste only."
            " `devflow trust` shows it and takes it."
        )


Judge = Callable[[FolderQuestion], bool]
"""Decides whether to take a whole file that the user has not agreed to yet."""


def warn_of_folder(question: FolderQuestion) -> bool:
    """Log a warning and return False, for processes that cannot ask the user."""
    import structlog

    structlog.get_logger("devflow.settings").warning(question.remark)
    return False
