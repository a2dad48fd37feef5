"""A disk that fails or takes no more, a table that is gone: said, refused, and nothing lost."""

from __future__ import annotations

import asyncio
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from devflow_store import Store
from integration.ledger_faults import (
    GatewayUnderFault,
    failing_disk,
    gateway,
    shut_disk,
    small_disk,
    trip_disk,
)
from integration.served import Served, start


def _refused(one: GatewayUnderFault, state: str) -> None:
    one.until(lambda: one.readyz() == (503, state), "told")
    one.until(lambda: one.ask().status == 503, "refused")
    assert all(one.ask().status == 503 for _ in range(5))
    assert one.served.ask("GET", "/healthz").status == 200
    assert f"state={state}" in one.child.err


def _check_books(one: GatewayUnderFault, folder: Path) -> None:
    asyncio.run(_take_in_what_waits(Store(folder / "ledger.db")))
    _check_rows(one, folder)


def _check_rows(one: GatewayUnderFault, folder: Path) -> None:
    store = Store(folder / "ledger.db")
    found = store.verify()
    assert found.ok, found.reason
    assert set(one.acknowledged) <= {entry.entry_id for entry in store.entries()}


async def _take_in_what_waits(store: Store) -> None:
    async with store:
        assert store.emergency_entries == 0


@pytest.mark.parametrize(("fail", "state"), [(trip_disk, "read_only"), (shut_disk, "unreachable")])
def test_a_disk_with_errors_stops_paid_calls(
    tmp_path: Path, fail: Callable[[Path], None], state: str
) -> None:
    try:
        with failing_disk(tmp_path / "data") as disk:
            with gateway(tmp_path, "--no-key") as one, one.asked_without_pause():
                for _ in range(3):
                    assert one.ask().status == 200
                fail(disk)
                _refused(one, state)
            _mount_again(disk)
            _check_books(one, disk)
    except PermissionError as error:
        pytest.skip(f"this user may mount no disk: {error}")


def _mount_again(disk: Path) -> None:
    """As after a restart of the machine: what the system had kept in memory is read anew."""
    subprocess.run(["umount", str(disk)], check=True, timeout=60)
    image = disk.with_name(f"{disk.name}.image")
    subprocess.run(["mount", "-o", "loop", str(image), str(disk)], check=True, timeout=60)


def test_a_disk_that_is_read_only_keeps_it_from_starting_and_loses_nothing(tmp_path: Path) -> None:
    disk = tmp_path / "data"
    try:
        with small_disk(disk, "24m"):
            with gateway(tmp_path, "--no-key") as one:
                assert one.ask().status == 200
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True, timeout=60)
            with start(tmp_path, "--no-key", "--data-dir", str(disk)) as child:
                done = child.wait(60)
            assert done.status == 1
            assert "read-only" in done.err.lower()
            assert str(disk) in done.err
            copy = tmp_path / "copy"
            shutil.copytree(disk, copy)
            _check_books(one, copy)
    except PermissionError as error:
        pytest.skip(f"this user may mount no disk: {error}")


def test_a_limit_on_the_size_of_files_is_a_full_disk(tmp_path: Path) -> None:
    with gateway(tmp_path, "--no-key") as one:
        for _ in range(3):
            assert one.ask().status == 200
        usual = resource.prlimit(one.child.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(one.child.pid, resource.RLIMIT_FSIZE, (4096, usual[1]))
        with one.asked_without_pause():
            _refused(one, "full")
        resource.prlimit(one.child.pid, resource.RLIMIT_FSIZE, usual)
        one.until(lambda: one.readyz() == (200, "ready"), "ready again")
        assert one.ask().status == 200
        one.until(lambda: one.metrics()['devflow_emergency_entries{worker="0"}'] == 0, "drained")
    _check_books(one, one.data_dir)


TABLES = ("client_keys", "calls", "chain", "nodes")


@pytest.mark.parametrize("table", TABLES)
def test_a_table_that_is_dropped_is_told_until_it_is_back(tmp_path: Path, table: str) -> None:
    with gateway(tmp_path) as one:
        key = one.served.first_key
        assert _status(one.served, key) == 200
        with sqlite3.connect(one.data_dir / "ledger.db") as other:
            other.execute(f"ALTER TABLE {table} RENAME TO away")
        one.until(lambda: one.readyz() == (503, "vanished"), "told")
        one.until(lambda: _status(one.served, key) == 503, "refused")
        assert all(one.readyz() == (503, "vanished") for _ in range(100))
        assert one.child.err.count("ledger_not_ready") == 1
        with sqlite3.connect(one.data_dir / "ledger.db") as other:
            other.execute(f"ALTER TABLE away RENAME TO {table}")
        one.until(lambda: one.readyz() == (200, "ready"), "ready again")
        assert _status(one.served, key) == 200
    _check_rows(one, one.data_dir)  # a table that was renamed twice is not taken at a start


def _status(served: Served, key: str | None) -> int:
    return served.ask("GET", "/v1/models", key=key).status
