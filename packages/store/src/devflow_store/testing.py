"""Simulates a disk that loses unsynced data, fails, or is full, for tests and benchmarks."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
from devflow_core.errors import StoreError
from devflow_core.ledger import AttemptStart, LedgerEntry

from devflow_store.engines.sqlite import SqliteEngine
from devflow_store.store import Store

Written = tuple[AttemptStart, LedgerEntry]
"""The start of a request's only attempt, and its entry."""
SECTOR = 512
"""The bytes that a disk writes completely or not at all."""
_names = itertools.count()


@dataclass
class Disk:
    """A simulated disk: what is safe, what is only in its cache, and whether writing works."""

    safe: dict[str, bytearray] = field(default_factory=dict[str, bytearray])
    """The content of each file that would survive a power cut, by name."""
    cached: list[tuple[str, int, bytes]] = field(default_factory=list[tuple[str, int, bytes]])
    """Unsynced writes in order: file, offset, data; a negative offset `-size - 1` cuts the file."""
    is_full: bool = False
    fail_write: int | None = None
    """The number of the write that fails, from 1; None: none."""
    fail_sync: int | None = None
    """The number of the sync that reports a failure, from 1; None: none."""
    writes: int = 0
    syncs: int = 0

    def write(self, name: str, data: bytes, offset: int) -> None:
        """Write to a file; the data is only in the drive's cache.

        Raises:
            apsw.FullError: the disk is full, and the file is a database or its log.
            apsw.IOError: this write is the one that `fail_write` names.
        """
        self.writes += 1
        if self.is_full and name.endswith(("-wal", ".db")):
            raise _io_error(apsw.FullError, apsw.SQLITE_FULL)
        if self.writes == self.fail_write:
            raise _io_error(apsw.IOError, apsw.SQLITE_IOERR_WRITE)
        self.cached.append((name, offset, data))

    def sync(self, name: str) -> None:
        """Make everything written to a file safe.

        Raises:
            apsw.IOError: this sync is the one that `fail_sync` names; the data is safe even so.
        """
        self.syncs += 1
        rest = [one for one in self.cached if one[0] != name]
        for _name, offset, data in (one for one in self.cached if one[0] == name):
            _put(self.safe.setdefault(name, bytearray()), offset, data)
        self.cached = rest
        if self.syncs == self.fail_sync:
            raise _io_error(apsw.IOError, apsw.SQLITE_IOERR_FSYNC)

    def truncate(self, name: str, size: int) -> None:
        """Cut a file to a size in bytes; this too is only in the drive's cache."""
        self.cached.append((name, -size - 1, b""))

    def delete(self, name: str) -> None:
        """Delete a file at once, with what is cached of it."""
        self.safe.pop(name, None)
        self.cached = [one for one in self.cached if one[0] != name]

    def after_power_cut(self, folder: Path, chance: random.Random) -> Path:
        """Write the files as found after a power cut: what was safe, and any part of the rest.

        Args:
            folder: an existing folder for the files.
            chance: decides what of the cache has survived.

        Returns:
            The path of the ledger among them.
        """
        files = {name: bytearray(content) for name, content in self.safe.items()}
        for name, offset, data in self.cached:
            if chance.random() < 0.5:
                survived = data if chance.random() < 0.7 else data[: chance.randrange(8) * SECTOR]
                _put(files.setdefault(name, bytearray()), offset, survived)
        for name, content in files.items():
            (folder / Path(name).name).write_bytes(content)
        return folder / "ledger.db"


def _put(content: bytearray, offset: int, data: bytes) -> None:
    if offset < 0:
        del content[-offset - 1 :]
        return
    content.extend(bytes(max(0, offset + len(data) - len(content))))
    content[offset : offset + len(data)] = data


def _io_error(kind: type[apsw.Error], code: int) -> apsw.Error:
    error = kind("from the simulated disk")
    error.extendedresult = code  # type: ignore[attr-defined] # apsw hands it on to SQLite
    return error


class _DiskFile(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._disk = disk
        self._name = name.filename() if isinstance(name, apsw.URIFilename) else str(name)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        self._disk.write(self._name, bytes(data), offset)
        super().xWrite(data, offset)  # pyright: ignore[reportUnknownMemberType] # as in sqlite.py

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._disk.sync(self._name)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._disk.truncate(self._name, newsize)
        super().xTruncate(newsize)


class _DiskVfs(apsw.VFS):
    def __init__(self, name: str, disk: Disk) -> None:
        self._disk = disk
        super().__init__(name, "")

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        self._disk.delete(filename)
        super().xDelete(filename, syncdir)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return _DiskFile(self._disk, name, flags)


@contextmanager
def engine_on(disk: Disk, path: Path, synchronous: str = "FULL") -> Generator[SqliteEngine]:
    """Yield an engine whose file is written through this disk; it is usable within the block."""
    name = f"disk{next(_names)}"
    vfs = _DiskVfs(name, disk)
    try:
        yield SqliteEngine(path, vfs=name, synchronous=synchronous)
    finally:
        vfs.unregister()


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerCuts:
    """The results of simulated power cuts."""

    cuts: int
    acknowledged: int
    """Acknowledged entries, over all cuts."""
    lost: int
    """Cuts after which an acknowledged entry was missing."""
    damaged: int
    """Cuts after which the chain did not verify."""


def cut_power(
    folder: Path, requests: Sequence[Written], cuts: int, synchronous: str = "FULL"
) -> PowerCuts:
    """Write some requests to a new ledger, cut the power, check what is left; repeat.

    Args:
        folder: an empty folder for the files of every cut.
        requests: at least two; each cut writes a random number of them, from the first on.
        cuts: the number of power cuts.
        synchronous: SQLite's setting.
    """
    chance = random.Random(20261121)  # noqa: S311 - repeatable, not secret
    total = lost = damaged = 0
    for cut in range(cuts):
        work, found = folder / f"work{cut}", folder / f"found{cut}"
        work.mkdir()
        found.mkdir()
        disk = Disk()
        written = requests[: chance.randrange(1, len(requests))]
        with engine_on(disk, work / "ledger.db", synchronous) as engine:
            acknowledged, image = asyncio.run(_cut_after(engine, written, disk, found, chance))
        store = Store(image)
        try:
            survived = {entry.entry_id for entry in store.entries()}
            damaged += not store.verify().ok
        except StoreError:
            survived = set[str]()
        total += len(acknowledged)
        lost += any(entry.entry_id not in survived for entry in acknowledged)
    return PowerCuts(cuts=cuts, acknowledged=total, lost=lost, damaged=damaged)


async def _cut_after(
    engine: SqliteEngine,
    requests: Sequence[Written],
    disk: Disk,
    found: Path,
    chance: random.Random,
) -> tuple[list[LedgerEntry], Path]:
    acknowledged: list[LedgerEntry] = []
    async with Store(engine) as store:
        for start, entry in requests:
            await store.begin(start)
            await store.close(entry)
            acknowledged.append(entry)
        image = disk.after_power_cut(found, chance)
    return acknowledged, image
