"""Runs the work of the process tests: several processes share one store, and some are killed.

`workload.py kills|spend|claim_keys|open_new DATABASE COUNT FOLDER`; COUNT is of kills, threads or
processes.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from devflow_core.attribution import Attribution
from devflow_core.errors import BudgetExceeded
from devflow_core.ids import new_id
from devflow_core.ledger import AttemptStart, LedgerEntry
from devflow_core.testing import a_booked_request
from devflow_store import InFlight, NewClaim, Store

LEASE_S = 0.5
KEYS = 100


def request(cost_usd: Decimal) -> tuple[AttemptStart, LedgerEntry]:
    return a_booked_request(
        cost_usd=f"{cost_usd:f}",
        reserved_usd="0.03",
        attribution=Attribution(session_id="s", client_key="ci"),
        at=datetime.now(UTC),
    )


def kills(database: str, count: int) -> dict[str, Any]:
    """Start writers one after the other and kill each of them in the middle of its work."""
    acknowledged: list[str] = []
    for number in range(count):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            asyncio.run(_write_for_ever(database, writer))
        os.close(writer)
        chance, seen = random.Random(number), b""  # noqa: S311 - repeatable
        least = chance.randrange(1, 14)
        while seen.count(b"\n") < least:
            seen += os.read(reader, 100)
        time.sleep(chance.random() * 0.005)  # anywhere in what it is doing
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        while more := os.read(reader, 65536):
            seen += more
        os.close(reader)
        acknowledged += seen.decode().split("\n")[:-1]
    return {"acknowledged": acknowledged}


async def _write_for_ever(database: str, pipe: int) -> None:
    async def one() -> None:
        while True:
            start, entry = request(Decimal("0.001"))
            await store.begin(start)
            await store.close(entry)
            os.write(pipe, f"{entry.entry_id}\n".encode())

    async with Store(database, lease_s=LEASE_S) as store:
        await asyncio.gather(*(one() for _ in range(8)))


def spend(database: str, threads: int) -> dict[str, Any]:
    """Spend in every thread, each with a separate store, until the budget refuses."""

    async def work(store: Store) -> tuple[int, int]:
        admitted = refused = 0
        while refused < 3:
            start, entry = request(Decimal("0.03"))
            try:
                await store.begin(start)
            except BudgetExceeded:
                refused += 1
                continue
            admitted += 1
            await store.close(entry)
        return admitted, refused

    done = _in_threads(database, threads, work)
    return {"admitted": sum(one[0] for one in done), "refused": sum(one[1] for one in done)}


def claim_keys(database: str, threads: int) -> dict[str, Any]:
    """Claim the same keys in every thread; only one of them may carry each out."""

    async def work(store: Store) -> list[str]:
        carried: list[str] = []
        for number in random.sample(range(KEYS), KEYS):
            key = f"key{number}"
            entry_id = new_id("req")
            claim = await store.idempotency.claim("ci", key, "f", entry_id)
            if isinstance(claim, NewClaim):
                carried.append(key)
                await store.idempotency.finish(entry_id, key.encode())
            elif isinstance(claim, InFlight):
                claim = await store.idempotency.wait("ci", key, 30)
            if not isinstance(claim, NewClaim):
                assert claim.payload == key.encode(), claim  # type: ignore[union-attr]
        return carried

    return {"carried": [key for keys in _in_threads(database, threads, work) for key in keys]}


def open_new(folder: str, processes: int) -> dict[str, Any]:
    """Create one new ledger from several processes at the same moment, in ten folders in turn."""
    errors: list[str] = []
    for number in range(10):
        gate, opener = os.pipe()
        results, result = os.pipe()
        file = Path(folder) / str(number) / "ledger.db"
        children = [_fork_opener(file, gate, opener, result) for _ in range(processes)]
        for handle in (gate, opener, result):
            os.close(handle)  # all of them begin now
        for child in children:
            os.waitpid(child, 0)
        while more := os.read(results, 65536):
            errors += more.decode().splitlines()
        os.close(results)
    return {"errors": errors}


def _fork_opener(file: Path, gate: int, opener: int, result: int) -> int:
    child = os.fork()
    if child:
        return child
    os.close(opener)
    os.read(gate, 1)
    try:
        asyncio.run(_open(file))
    except BaseException as error:  # noqa: BLE001 - it is told to the test
        os.write(result, f"{error!r}\n".encode())
    os._exit(0)


async def _open(file: Path) -> None:
    async with Store(file):
        pass


def _in_threads(
    database: str, threads: int, work: Callable[[Store], Coroutine[Any, Any, Any]]
) -> list[Any]:
    async def main() -> Any:
        async with Store(database, data_dir=Path(sys.argv[4])) as store:
            return await work(store)

    with ThreadPoolExecutor(threads) as pool:
        return [one.result() for one in [pool.submit(asyncio.run, main()) for _ in range(threads)]]


if __name__ == "__main__":
    act = {"kills": kills, "spend": spend, "claim_keys": claim_keys, "open_new": open_new}[
        sys.argv[1]
    ]
    sys.stdout.write(json.dumps(act(sys.argv[2], int(sys.argv[3]))))
