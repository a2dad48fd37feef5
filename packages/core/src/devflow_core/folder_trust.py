"""The settings of a working directory: taste is taken, anything else only where it is trusted.

A folder may have come from anybody. What names a host, a command, a folder, a key or a file, and
what spends money, is taken from its `devflow.toml` only after the user has said so; that is
remembered by the file's path and hash, so that a changed file asks again.
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
"""In the user's folder of configuration."""
_MASK = "********"
_Table = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taste:
    """Marks a setting that the file of a working directory may set unasked."""

    columns: tuple[str, ...] = ()
    """Of a table of tables: only these names in each of them; empty: the whole setting."""
    is_ceiling: bool = False
    """Whether only a stricter value than the user's own counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSettings:
    """The `devflow.toml` of a folder, as it was read once."""

    path: Path
    """Absolute."""
    digest: str
    """SHA-256 of its bytes."""
    values: _Table

    @classmethod
    def read(cls, folder: Path) -> FolderSettings | None:
        """The file of a folder; None when there is none.

        Raises:
            ConfigurationError: it cannot be read, or is no TOML.
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
        """What may be set unasked, ceilings left out."""
        return {
            name: value if not marks[name].columns else _only_columns(value, marks[name].columns)
            for name, value in self.values.items()
            if name in marks and not marks[name].is_ceiling
        }

    def ceilings(self, marks: Mapping[str, Taste]) -> dict[str, object]:
        """What counts only where it is stricter than the user's own."""
        return {
            name: value
            for name, value in self.values.items()
            if name in marks and marks[name].is_ceiling
        }

    def beyond_taste(self, marks: Mapping[str, Taste]) -> tuple[str, ...]:
        """Names of what may not be set unasked, as they stand in the file."""
        return tuple(_find_beyond(self.values, marks))


def describe_settings(values: _Table, secrets: Collection[str]) -> list[str]:
    """Settings as a person is asked about them: every character can be seen, secrets cannot."""
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
        return value  # whoever checks the settings says what is wrong with it
    return {
        row: {one: columns[one] for one in wanted if one in columns}
        for row, columns in _rows(cast("_Table", value))
    }


def _rows(table: _Table) -> Iterator[tuple[str, _Table]]:
    for row, columns in table.items():
        if isinstance(columns, Mapping):
            yield row, cast("_Table", columns)


class TrustedFolders:
    """What the user has said of the folders' files: yes, no, or nothing yet.

    Args:
        config_dir: the user's folder of configuration; None: nothing can be remembered.
    """

    def __init__(self, config_dir: Path | None) -> None:
        self._path = None if config_dir is None else config_dir / TRUST_FILE

    def answer(self, file: FolderSettings) -> bool | None:
        """What was said of exactly this file; None: nothing yet, or it has changed since.

        Raises:
            ConfigurationError: the record cannot be read.
        """
        said = self._read().get(str(file.path))
        return bool(said["trusted"]) if said and said["sha256"] == file.digest else None

    def remember(self, file: FolderSettings, *, is_trusted: bool) -> None:
        """Keep what was said.

        Raises:
            ConfigurationError: the record cannot be read or written.
        """
        said = {"sha256": file.digest, "trusted": is_trusted}
        self._write({**self._read(), str(file.path): said})

    def forget(self, folder: Path) -> bool:
        """Forget what was said of a folder's file; whether there was anything.

        Raises:
            ConfigurationError: the record cannot be read or written.
        """
        known = dict(self._read())
        if known.pop(str(folder / SETTINGS_FILE), None) is None:
            return False
        self._write(known)
        return True

    def list_trusted(self) -> list[Path]:
        """The files that are trusted as long as they do not change.

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
    """Whether all that a folder's file sets is taken, or its taste only."""

    file: FolderSettings
    left_out: tuple[str, ...]
    """Names of what is not taken unless the answer is yes."""
    folders: TrustedFolders
    secrets: frozenset[str] = frozenset()

    @property
    def answer(self) -> bool | None:
        """What the user has said of exactly this file; None: nothing yet."""
        return self.folders.answer(self.file)

    def remember(self, *, is_trusted: bool) -> None:
        """Keep the answer for as long as the file does not change."""
        self.folders.remember(self.file, is_trusted=is_trusted)

    def describe(self) -> list[str]:
        """Every setting of the file with its value, a line each."""
        return describe_settings(self.file.values, self.secrets)

    @property
    def remark(self) -> str:
        """What is left out, and how it is taken."""
        path, names = _show(str(self.file.path))[1:-1], ", ".join(self.left_out)
        return (
            f"{path} also sets {names}: left out, since a folder may set taste only."
            " `devflow trust` shows it and takes it."
        )


Judge = Callable[[FolderQuestion], bool]
"""Answers a question where the user has not said yes before."""


def warn_of_folder(question: FolderQuestion) -> bool:
    """The answer where nobody can be asked: no, and a warning in the log."""
    import structlog

    structlog.get_logger("devflow.settings").warning(question.remark)
    return False
