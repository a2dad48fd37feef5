"""Keeps the learned tables of a data folder: numbered files, of which the newest is in use."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from devflow_core.errors import ConfigurationError, NotFound
from devflow_core.private_files import ensure_private_folder, read_private_file, replace_file

from devflow_routing.learned.table import LearnedTable
from devflow_routing.learned.table_file import pack_table, unpack_table

MAX_KEPT = 10
"""The most tables that are kept; older ones are deleted when a new one is written."""
_NAME = re.compile(r"(\d{4,9})-([0-9a-f]{12})\.npz")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptTable:
    """A table's file."""

    number: int
    version: str
    path: Path


class LearnedFolder:
    """The learned tables of a data folder.

    Args:
        data_dir: the data folder; nothing is created before a table is saved.
    """

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / "learned"

    def list(self) -> list[KeptTable]:
        """Return the kept tables, the one in use first; none if there is no folder.

        Raises:
            ConfigurationError: the folder cannot be read.
        """
        try:
            names = [one.name for one in self.path.iterdir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ConfigurationError(f"{self.path} cannot be read: {error.strerror}.") from None
        found = [match for name in names if (match := _NAME.fullmatch(name))]
        tables = [
            KeptTable(number=int(one[1]), version=one[2], path=self.path / one[0]) for one in found
        ]
        return sorted(tables, key=lambda one: -one.number)

    def load(self) -> LearnedTable | None:
        """Return the table in use; None if none was learned.

        Raises:
            ConfigurationError: its file cannot be read, is a link, is damaged, or was made by
                another version.
        """
        kept = self.list()
        if not kept:
            return None
        try:
            return unpack_table(read_private_file(kept[0].path))
        except OSError as error:
            raise ConfigurationError(f"{kept[0].path} cannot be read: {error.strerror}.") from None

    def save(self, table: LearnedTable) -> KeptTable:
        """Write a table, which is in use from now on; older ones than the last ten are deleted.

        Raises:
            ConfigurationError: it cannot be written, or others may write to the folder.
        """
        kept = self.list()
        number = kept[0].number + 1 if kept else 1
        path = self.path / f"{number:04}-{table.version}.npz"
        try:
            ensure_private_folder(self.path.parent)
            ensure_private_folder(self.path)
            replace_file(path, pack_table(table))
            for old in kept[MAX_KEPT - 1 :]:
                old.path.unlink(missing_ok=True)
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be written: {error.strerror}.") from None
        return KeptTable(number=number, version=table.version, path=path)

    def undo(self) -> tuple[KeptTable, KeptTable | None]:
        """Delete the table in use; return it, and the one before, which is in use now, or None.

        Raises:
            NotFound: there is no table.
            ConfigurationError: the file cannot be deleted.
        """
        kept = self.list()
        if not kept:
            raise NotFound("There is no learned table to undo. `devflow routing train` makes one.")
        try:
            kept[0].path.unlink()
        except OSError as error:
            raise ConfigurationError(
                f"{kept[0].path} cannot be deleted: {error.strerror}."
            ) from None
        return kept[0], kept[1] if len(kept) > 1 else None
