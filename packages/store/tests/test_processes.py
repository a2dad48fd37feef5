"""Several processes share one store, and what they were told holds even if some are killed."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
from devflow_core.errors import StoreError
from devflow_store import Budget, Store

WORKLOAD = Path(__file__).with_name("workload.py")


def _start(what: str, database: Any, count: int, folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(WORKLOAD), what, str(database), str(count), str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def _results(processes: list[subprocess.Popen[bytes]]) -> list[dict[str, Any]]:
    outputs: list[bytes] = []
    for process in processes:
        with process:
            outputs.append(process.communicate(timeout=240)[0])
    assert {process.returncode for process in processes} == {0}
    return [json.loads(out.splitlines()[-1]) for out in outputs]  # logs may stand before


async def _create_ledger(database: Any, folder: Path) -> None:
    async with Store(database, data_dir=folder):
        pass


async def _with_budget(database: Any, folder: Path, budget: Budget) -> None:
    async with Store(database, data_dir=folder) as store:
        await store.budgets.set(budget)


def test_a_hundred_killed_writers_lose_nothing_and_leave_nothing(file: Path) -> None:
    budget = Budget(scope="global", window="lifetime", limit_usd=Decimal(10_000))
    asyncio.run(_with_budget(file, file.parent, budget))
    (result,) = _results([_start("kills", file, 100, file.parent)])

    async def recover() -> None:
        async with Store(file, lease_s=0.5) as store:
            async with asyncio.timeout(60):
                while store.budget_states()[0].reserved_usd:  # noqa: ASYNC110 - another task's work
                    await asyncio.sleep(0.05)
            entries = list(store.entries())
            times = Counter(entry.entry_id for entry in entries)
            assert set(result["acknowledged"]) <= set(times)
            assert max(times.values()) == 1
            assert store.verify().ok
            lost = [entry for entry in entries if entry.error_code == "process_lost"]
            assert lost
            assert {entry.cost_usd for entry in lost} == {Decimal("0.03")}
            (state,) = store.budget_states()
            assert state.reserved_usd == 0
            assert state.spent_usd == sum((entry.cost_usd for entry in entries), Decimal(0))

    asyncio.run(recover())
    assert len(result["acknowledged"]) > 500


def test_many_processes_make_one_new_ledger_at_the_same_moment(tmp_path: Path) -> None:
    (result,) = _results([_start("open_new", tmp_path, 16, tmp_path)])
    assert result["errors"] == []


def test_two_processes_never_overspend_a_budget(database: Any, tmp_path: Path) -> None:
    threads = 8 if isinstance(database, Path) else 16  # 32 connections to PostgreSQL
    budget = Budget(scope="global", window="lifetime", limit_usd=Decimal(1))
    asyncio.run(_with_budget(database, tmp_path, budget))
    results = _results([_start("spend", database, threads, tmp_path) for _ in range(2)])
    assert sum(one["admitted"] for one in results) == 33
    (state,) = Store(database, data_dir=tmp_path).budget_states()
    assert (state.spent_usd, state.reserved_usd) == (Decimal("0.99"), Decimal(0))
    assert Store(database, data_dir=tmp_path).verify().ok


def test_two_processes_carry_each_idempotency_key_out_once(database: Any, tmp_path: Path) -> None:
    asyncio.run(_create_ledger(database, tmp_path))
    results = _results([_start("claim_keys", database, 10, tmp_path) for _ in range(2)])
    carried = [key for one in results for key in one["carried"]]
    assert len(carried) == len(set(carried)) == 100


def test_a_slow_process_that_was_taken_for_dead_still_has_the_last_word(
    database: Any, tmp_path: Path, request_of: Any
) -> None:
    budget = Budget(scope="global", window="lifetime", limit_usd=Decimal(1))
    start, entry = request_of(1, reserved_usd="0.5", cost_usd="0.2")

    async def main() -> None:
        async with Store(database, lease_s=3600, data_dir=tmp_path) as store:
            await store.budgets.set(budget)
            await store.begin(start)
            await store._renew_lease(is_leaving=True)
            async with Store(database, data_dir=tmp_path) as other:
                lost = other.entry(entry.entry_id)
                assert lost is not None
                assert (lost.error_code, lost.cost_usd) == ("process_lost", Decimal("0.5"))
            for _again in range(2):
                await store.close(entry)
            assert list(store.entries()) == [entry]
            (state,) = store.budget_states()
            assert (state.spent_usd, state.reserved_usd) == (Decimal("0.2"), Decimal(0))
            assert store.groups("error")[""].cost_pico == 2 * 10**11
            assert store.verify().ok

    asyncio.run(main())


def test_a_postgresql_that_cuts_connections_loses_nothing(
    postgres_database: str, tmp_path: Path, request_of: Any
) -> None:
    acknowledged: list[str] = []
    tried = 0
    one_at_a_time = asyncio.Lock()  # a cut would cut another's connection too

    async def write(store: Store, numbers: range) -> None:
        nonlocal tried
        for number in numbers:
            tried += 1
            if tried % 30 == 0:
                async with one_at_a_time:
                    await asyncio.to_thread(cut)
            start, entry = request_of(number)
            try:
                await store.begin(start)
            except StoreError:
                continue
            await store.close(entry)  # into the emergency file, if need be
            acknowledged.append(entry.entry_id)

    def cut() -> None:
        with psycopg.connect(postgres_database, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND datname = current_database()"
            )

    async def main() -> None:
        async with Store(postgres_database, data_dir=tmp_path, lease_s=3600) as store:
            writers = (write(store, range(at, at + 60)) for at in range(0, 480, 60))
            await asyncio.gather(*writers)
        async with Store(postgres_database, data_dir=tmp_path) as store:
            found = Counter(entry.entry_id for entry in store.entries())
            assert set(acknowledged) <= set(found)
            assert max(found.values()) == 1
            assert store.verify().ok

    asyncio.run(main())
    assert len(acknowledged) > 100
