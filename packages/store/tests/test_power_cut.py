"""No acknowledged entry is lost if a disk loses what was not synced, fails, or is full."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from devflow_core.errors import StoreError
from devflow_core.ledger import AttemptStart, LedgerEntry
from devflow_store import Store
from devflow_store.engines.sqlite import SqliteEngine
from devflow_store.testing import Disk, cut_power, engine_on

Build = Callable[..., tuple[AttemptStart, LedgerEntry]]


def test_a_power_cut_loses_nothing_that_was_acknowledged(tmp_path: Path, request_of: Build) -> None:
    found = cut_power(tmp_path, [request_of(number) for number in range(20)], 200)
    assert (found.lost, found.damaged) == (0, 0)


def test_the_simulator_sees_what_a_weaker_setting_loses(tmp_path: Path, request_of: Build) -> None:
    requests = [request_of(number) for number in range(20)]
    assert cut_power(tmp_path, requests, 20, "NORMAL").lost > 5


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
        with engine_on(disk, folder / "ledger.db") as engine:
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

    with engine_on(disk, tmp_path / "ledger.db") as engine:
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

    with engine_on(disk, tmp_path / "ledger.db") as engine:
        asyncio.run(main(engine))

    async def again() -> None:
        async with Store(tmp_path / "ledger.db") as store:
            found = sorted(store.entries(), key=lambda entry: entry.started_at)
            assert found == entries

    asyncio.run(again())
