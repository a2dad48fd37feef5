"""A disk that loses what was not synced, that fails, and that is full."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
import pytest
from devflow_core.errors import StoreError
from devflow_core.ledger import AttemptStart, LedgerEntry
from devflow_store import Store
from devflow_store.engines.sqlite import SqliteEngine

Build = Callable[..., tuple[AttemptStart, LedgerEntry]]
SECTOR = 512
_names = itertools.count()


@dataclass
class Disk:
    """What is safe, what is only in the drive's cache, and whether writing works."""

    safe: dict[str, bytearray] = field(default_factory=dict[str, bytearray])
    cached: list[tuple[str, int, bytes]] = field(default_factory=list[tuple[str, int, bytes]])
    is_full: bool = False
    fail_write: int | None = None
    """The number of the write that fails."""
    fail_sync: int | None = None
    writes: int = 0
    syncs: int = 0

    def write(self, name: str, data: bytes, offset: int) -> None:
        self.writes += 1
        if self.is_full and name.endswith(("-wal", ".db")):
            raise _io_error(apsw.FullError, apsw.SQLITE_FULL)
        if self.writes == self.fail_write:
            raise _io_error(apsw.IOError, apsw.SQLITE_IOERR_WRITE)
        self.cached.append((name, offset, data))

    def sync(self, name: str) -> None:
        self.syncs += 1
        rest = [one for one in self.cached if one[0] != name]
        for _name, offset, data in (one for one in self.cached if one[0] == name):
            _put(self.safe.setdefault(name, bytearray()), offset, data)
        self.cached = rest
        if self.syncs == self.fail_sync:
            raise _io_error(apsw.IOError, apsw.SQLITE_IOERR_FSYNC)

    def truncate(self, name: str, size: int) -> None:
        self.cached.append((name, -size - 1, b""))

    def delete(self, name: str) -> None:
        self.safe.pop(name, None)
        self.cached = [one for one in self.cached if one[0] != name]

    def after_power_cut(self, folder: Path, chance: random.Random) -> Path:
        """The files as they are found again: what was safe, and any part of the rest."""
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
    error = kind("from the test's disk")
    error.extendedresult = code  # type: ignore[attr-defined] # apsw hands it on to SQLite
    return error


class _File(apsw.VFSFile):
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


class _Vfs(apsw.VFS):
    def __init__(self, name: str, disk: Disk) -> None:
        self._disk = disk
        super().__init__(name, "")

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        self._disk.delete(filename)
        super().xDelete(filename, syncdir)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return _File(self._disk, name, flags)


@contextmanager
def _on(disk: Disk, path: Path, synchronous: str = "FULL") -> Generator[SqliteEngine]:
    name = f"disk{next(_names)}"
    vfs = _Vfs(name, disk)
    try:
        yield SqliteEngine(path, vfs=name, synchronous=synchronous)
    finally:
        vfs.unregister()


def _lost(tmp_path: Path, request_of: Build, cuts: int, synchronous: str) -> tuple[int, int]:
    """Of so many power cuts: how often something acknowledged was lost, or the file damaged."""
    chance = random.Random(20261121)  # noqa: S311 - repeatable, not secret
    requests = [request_of(number) for number in range(20)]
    lost = damaged = 0
    for cut in range(cuts):
        work, found = tmp_path / f"work{cut}", tmp_path / f"found{cut}"
        work.mkdir()
        found.mkdir()
        disk = Disk()
        written = requests[: chance.randrange(1, len(requests))]
        with _on(disk, work / "ledger.db", synchronous) as engine:
            acknowledged, image = asyncio.run(_cut_after(engine, written, disk, found, chance))
        store = Store(image)
        try:
            survived = {entry.entry_id for entry in store.entries()}
            damaged += not store.verify().ok
        except StoreError:
            survived = set[str]()
        lost += any(entry.entry_id not in survived for entry in acknowledged)
    return lost, damaged


async def _cut_after(
    engine: SqliteEngine, requests: list[Any], disk: Disk, found: Path, chance: random.Random
) -> tuple[list[LedgerEntry], Path]:
    acknowledged: list[LedgerEntry] = []
    async with Store(engine) as store:
        for start, entry in requests:
            await store.begin(start)
            await store.close(entry)
            acknowledged.append(entry)
        image = disk.after_power_cut(found, chance)
    return acknowledged, image


def test_a_power_cut_loses_nothing_that_was_acknowledged(tmp_path: Path, request_of: Build) -> None:
    assert _lost(tmp_path, request_of, 200, "FULL") == (0, 0)


def test_the_simulator_sees_what_a_weaker_setting_loses(tmp_path: Path, request_of: Build) -> None:
    lost, _damaged = _lost(tmp_path, request_of, 20, "NORMAL")
    assert lost > 5


@pytest.mark.parametrize("what", ["fail_write", "fail_sync"])
def test_a_failing_disk_never_acknowledges_what_is_not_there(
    tmp_path: Path, request_of: Build, what: str
) -> None:
    requests = [request_of(number) for number in range(3)]
    for number in range(1, 60):
        folder = tmp_path / str(number)
        folder.mkdir()
        disk = Disk()
        acknowledged: list[LedgerEntry] = []
        with _on(disk, folder / "ledger.db") as engine:
            asyncio.run(_with_fault(engine, requests, acknowledged, disk, (what, number)))
        store = Store(folder / "ledger.db")
        survived = [entry.entry_id for entry in store.entries()]
        assert len(survived) == len(set(survived))
        assert {entry.entry_id for entry in acknowledged} <= set(survived)
        assert store.verify().ok


async def _with_fault(
    engine: SqliteEngine,
    requests: list[Any],
    acknowledged: list[LedgerEntry],
    disk: Disk,
    fault: tuple[str, int],
) -> None:
    async with Store(engine) as store:
        past = disk.writes if fault[0] == "fail_write" else disk.syncs
        setattr(disk, fault[0], past + fault[1])
        for start, entry in requests:
            try:
                await store.begin(start)
            except StoreError:
                continue
            await store.close(entry)
            acknowledged.append(entry)


def test_a_full_disk_refuses_new_work_keeps_what_is_in_flight_and_recovers(
    tmp_path: Path, request_of: Build
) -> None:
    disk = Disk()

    async def main(engine: SqliteEngine) -> None:
        async with Store(engine, lease_s=0.3) as store:
            start, entry = request_of(1)
            await store.begin(start)
            disk.is_full = True
            with pytest.raises(StoreError, match="No space is left"):
                await store.begin(request_of(2)[0])
            await store.close(entry)  # into the emergency file
            assert list(store.entries()) == []
            disk.is_full = False
            async with asyncio.timeout(60):
                while store.entry(entry.entry_id) is None:  # noqa: ASYNC110 - another task's work
                    await asyncio.sleep(0.05)
            assert store.entry(entry.entry_id) == entry
            await store.begin(request_of(3)[0])

    with _on(disk, tmp_path / "ledger.db") as engine:
        asyncio.run(main(engine))


def test_what_waits_in_the_emergency_file_survives_the_process(
    tmp_path: Path, request_of: Build
) -> None:
    disk = Disk()
    entries = [request_of(number)[1] for number in range(30)]

    async def main(engine: SqliteEngine) -> None:
        async with Store(engine) as store:
            disk.is_full = True
            await asyncio.gather(*(store.close(entry) for entry in entries))

    with _on(disk, tmp_path / "ledger.db") as engine:
        asyncio.run(main(engine))

    async def again() -> None:
        async with Store(tmp_path / "ledger.db") as store:
            found = sorted(store.entries(), key=lambda entry: entry.started_at)
            assert found == entries

    asyncio.run(again())
