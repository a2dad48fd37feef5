"""A ledger reports its state, and entries wait while it cannot be written."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from devflow_core.errors import LedgerCorrupt, StoreError
from devflow_core.ledger import AttemptStart, LedgerEntry
from devflow_store import LedgerState, Store
from devflow_store.chain.overflow import MAX_ENTRIES, OverflowFile
from devflow_store.engines.sqlite import SqliteEngine
from devflow_store.health import BEGIN, LedgerHealth, LedgerUnavailable

Build = Callable[..., tuple[AttemptStart, LedgerEntry]]
PATIENCE_S = 60


async def _until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():  # noqa: ASYNC110 - another thread's work
            await asyncio.sleep(0.01)


async def test_a_lock_is_told_and_waited_for_then_refused_then_over(
    file: Path, request_of: Build
) -> None:
    async with Store(file) as store:
        start, entry = request_of(1)
        await store.begin(start)
        other = SqliteEngine(file).open_writer()
        other.begin()
        waiting = asyncio.create_task(store.begin(request_of(2)[0]))
        await _until(lambda: store.health.current()[0] is LedgerState.LOCKED)
        with pytest.raises(StoreError) as caught:
            await waiting
        assert caught.value.state == LedgerState.LOCKED
        with pytest.raises(StoreError, match="lock"):
            await store.begin(request_of(3)[0])
        await store.close(entry)
        assert store.emergency_entries == 1
        other.close()
        await _until(lambda: store.emergency_entries == 0)
        assert store.health.current()[0] is LedgerState.READY
        await store.begin(request_of(4)[0])
        begun = store.verify().rows
    assert begun == 3  # the first start, its entry, the last start: nobody was told of a second


async def _close_while_the_file_is_gone(
    store: Store, file: Path, request_of: Build
) -> tuple[LedgerEntry, Path]:
    """Close a request after its ledger was moved away; return the entry and the file's new path."""
    start, entry = request_of(1)
    await store.begin(start)
    away = file.with_name("away")
    os.rename(file, away)
    with pytest.raises(StoreError) as caught:
        await store.begin(request_of(2)[0])
    assert caught.value.state == LedgerState.VANISHED
    await store.close(entry)
    return entry, away


async def test_a_file_that_is_gone_is_not_made_anew_and_taken_when_it_is_back(
    file: Path, request_of: Build
) -> None:
    async with Store(file) as store:
        entry, away = await _close_while_the_file_is_gone(store, file, request_of)
        with pytest.raises(LedgerCorrupt):
            list(store.entries())
        assert "ledger.db" not in os.listdir(file.parent)
        os.rename(away, file)
        await _until(lambda: store.emergency_entries == 0)
        assert list(store.entries()) == [entry]
        assert store.verify().ok


async def test_what_waits_is_booked_at_the_end_if_the_ledger_has_just_come_back(
    file: Path, request_of: Build
) -> None:
    async with Store(file) as store:
        entry, away = await _close_while_the_file_is_gone(store, file, request_of)
        os.rename(away, file)
        assert store.emergency_entries == 1
    assert entry in list(Store(file).entries())


def test_an_emergency_file_that_is_deleted_is_made_anew_with_what_is_in_it(
    tmp_path: Path, request_of: Build
) -> None:
    entries = [request_of(number)[1] for number in range(3)]
    overflow = OverflowFile(tmp_path)
    overflow.open()
    overflow.add(entries[0])
    path = tmp_path / "ledger.emergency-0"
    path.unlink()
    overflow.add(entries[1])
    assert path.exists()
    overflow.close()
    again = OverflowFile(tmp_path)
    again.open()
    again.add(entries[2])
    assert again.read_entries() == entries
    again.close()


def test_requests_that_were_never_sent_leave_half_of_the_emergency_file_to_the_others(
    tmp_path: Path, request_of: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fdatasync", os.fstat)  # 10,000 times it would wait for the disk
    overflow = OverflowFile(tmp_path)
    overflow.open()
    entry = request_of(1)[1]
    unsent = replace(entry, attempts=())

    def fill() -> None:
        for _ in range(MAX_ENTRIES):
            overflow.add(unsent)

    with pytest.raises(StoreError, match="full"):
        fill()
    assert overflow.count <= MAX_ENTRIES // 2
    overflow.add(entry)
    overflow.close()


def test_an_emergency_file_with_entries_keeps_a_new_ledger_from_being_begun(
    file: Path, request_of: Build
) -> None:
    overflow = OverflowFile(file.parent)
    overflow.open()
    overflow.add(request_of(1)[1])
    overflow.close()

    async def main() -> None:
        async with Store(file):
            pass

    with pytest.raises(LedgerCorrupt, match="wait for it"):
        asyncio.run(main())
    assert not file.exists()


@pytest.mark.parametrize(("is_locked", "state"), [(True, "locked"), (False, "silent")])
def test_a_wait_is_told_before_it_is_refused(is_locked: bool, state: str) -> None:
    now_s = 0.0
    health = LedgerHealth(clock=lambda: now_s)
    health.waits_for_lock = lambda: is_locked
    health.start_step(BEGIN)
    now_s = BEGIN.reported_after_s
    assert (health.current()[0], health.refusal()) == (state, None)
    now_s = BEGIN.refused_after_s
    refusal = health.refusal()
    assert refusal is not None
    assert (refusal.state, refusal.retry_after_s) == (state, 1.0)
    health.end_steps()
    assert (health.current()[0], health.refusal()) == (LedgerState.READY, None)


def test_who_comes_later_is_told_of_damage_as_who_found_it() -> None:
    health = LedgerHealth()
    damage = LedgerCorrupt("It is damaged.")
    damage.state = LedgerState.DAMAGED
    health.note_failure(damage)
    refusal = health.refusal()
    assert isinstance(refusal, LedgerCorrupt)
    assert (refusal.state, refusal.message, refusal.retry_after_s) == (
        "damaged",
        "It is damaged.",
        None,
    )
    health.note_failure(LedgerUnavailable("Read-only.", LedgerState.READ_ONLY))
    assert type(health.refusal()) is LedgerUnavailable
