"""A dead process is recognised by missing signs of life, not by a clock that can be set."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from devflow_core.ids import new_id
from devflow_core.ledger import AttemptStart, LedgerEntry
from devflow_store import Budget, Completed, InFlight, NewClaim, Store, UnknownOutcome
from devflow_store.chain.writer import WriteJob
from devflow_store.database.engine import Session
from devflow_store.database.schema import create_tables
from devflow_store.engines.postgres import PostgresEngine
from devflow_store.engines.sqlite import SqliteEngine
from devflow_store.processes import describe_this_process, has_ended

HOUR_US = 3_600_000_000
LEASE_S = 15.0
Build = Callable[..., tuple[AttemptStart, LedgerEntry]]


class Process:
    """A store whose signs of life, monotonic clock and wall clock belong to the test."""

    def __init__(self, database: Any, folder: Path) -> None:
        self.store = Store(database, data_dir=folder, lease_s=1e9)
        self.now_s = 0.0
        self.ahead_us = 0
        self._writer_now_us = self.store._writer._now_us
        self.store._writer._now_us = lambda: self._writer_now_us() + self.ahead_us
        leases = self.store._leases
        leases.interval_s = LEASE_S / 5
        leases._clock = lambda: self.now_s
        leases._looked_s = 0.0
        # a machine of its own: only its silence tells the others that it is dead
        leases._process = f"boot-{id(self)}/1/1/1"

    async def look(self, after_s: float) -> None:
        """Let time pass in this process, then give a sign of life and look at the others."""
        self.now_s += after_s
        await self.store._renew_lease()

    async def see_a_lease_pass(self) -> None:
        """Let a lease pass, so that any process without a sign of life meanwhile counts as dead."""
        for _ in range(5):
            await self.look(LEASE_S / 5)


@pytest.fixture
def processes(database: Any, tmp_path: Path) -> tuple[Process, Process]:
    return Process(database, tmp_path), Process(database, tmp_path)


async def begin(store: Store, start: AttemptStart) -> None:
    """Claim a key for a request, and begin its attempt."""
    key, entry_id = start.entry_id, start.entry_id
    assert await store.idempotency.claim("ci", key, "f", entry_id) == NewClaim()
    await store.begin(start)


async def find(store: Store, start: AttemptStart) -> object:
    return await store.idempotency.wait("ci", start.entry_id, 0)


@pytest.mark.parametrize("ahead_us", [HOUR_US, -HOUR_US, 366 * 24 * HOUR_US])
def test_a_process_that_dies_with_a_wrong_clock_is_written_off_within_its_lease(
    processes: tuple[Process, Process], request_of: Build, ahead_us: int
) -> None:
    dying, watching = processes
    start, _entry = request_of(1)
    budget = Budget(scope="global", window="lifetime", limit_usd=Decimal(1))

    async def main() -> None:
        async with watching.store as watcher:
            await watcher.budgets.set(budget)
            dying.ahead_us = ahead_us
            async with dying.store as victim:
                await begin(victim, start)
                await victim._renew_lease()
                passed_s = 0.0
                while watcher.entry(start.entry_id) is None:
                    assert await find(watcher, start) == InFlight(start.entry_id)
                    await watching.look(LEASE_S / 5)
                    passed_s += LEASE_S / 5
                # the last look of all may be the first that shows nothing new
                assert passed_s <= LEASE_S
                assert await find(watcher, start) == UnknownOutcome(start.entry_id)
                (state,) = watcher.budget_states()
                assert state.reserved_usd == 0

    asyncio.run(main())


def test_a_jump_of_anybodys_clock_writes_nobody_off(
    processes: tuple[Process, Process], request_of: Build
) -> None:
    one, other = processes
    start, entry = request_of(1)

    async def main() -> None:
        async with one.store as living, other.store as watcher:
            await begin(living, start)
            for ahead_us in (HOUR_US, -HOUR_US, 366 * 24 * HOUR_US, 0):
                one.ahead_us, other.ahead_us = ahead_us, -ahead_us
                for _ in range(6):
                    await one.look(LEASE_S / 5)
                    await other.look(LEASE_S / 5)
                assert await find(watcher, start) == InFlight(start.entry_id)
                assert watcher.entry(start.entry_id) is None
                # nobody's claim ends by the clock while its process lives
                another = new_id("req")
                assert await watcher.idempotency.claim("ci", another, "f", another) == NewClaim()
            await living.close(entry)
            await living.idempotency.finish(start.entry_id, b"answer")
            assert await find(watcher, start) == Completed(b"answer")

    asyncio.run(main())


def test_who_was_held_up_itself_does_not_take_others_for_dead(
    processes: tuple[Process, Process], request_of: Build
) -> None:
    one, other = processes
    start, _entry = request_of(1)

    async def main() -> None:
        async with one.store as living, other.store as watcher:
            await begin(living, start)
            await other.look(LEASE_S / 5)
            await other.look(1_000.0)  # all of them were stopped, as when a machine sleeps
            assert await find(watcher, start) == InFlight(start.entry_id)

    asyncio.run(main())


def test_the_keys_of_a_dead_process_are_free_where_nothing_was_sent(
    processes: tuple[Process, Process], request_of: Build
) -> None:
    dying, watching = processes
    sent, _ = request_of(1)
    refused, entry = request_of(2)

    async def main() -> None:
        async with watching.store as watcher, dying.store as victim:
            await begin(victim, sent)
            claimed = victim.idempotency
            assert await claimed.claim("ci", "not sent", "f", "req_1") == NewClaim()
            assert await claimed.claim("ci", "answered", "f", "req_2") == NewClaim()
            await claimed.finish("req_2", b"answer")
            assert await claimed.claim("ci", "refused", "f", refused.entry_id) == NewClaim()
            await victim.close(replace(entry, attempts=()))
            waiting = asyncio.create_task(watcher.idempotency.wait("ci", "not sent", 60))
            await watching.see_a_lease_pass()
            assert await waiting is None
            found = watcher.idempotency
            assert await found.claim("ci", "not sent", "f", "req_3") == NewClaim()
            assert await found.claim("ci", "answered", "f", "req_4") == Completed(b"answer")
            assert await found.claim("ci", "refused", "f", "req_5") == NewClaim()
            assert await find(watcher, sent) == UnknownOutcome(sent.entry_id)

    asyncio.run(main())


def test_a_slow_process_sends_nothing_for_a_key_that_another_has_taken_over(
    processes: tuple[Process, Process], request_of: Build
) -> None:
    slow, watching = processes
    start, _entry = request_of(1)
    sent, sent_entry = request_of(2)

    async def main() -> None:
        async with watching.store as watcher, slow.store as late:
            assert await late.idempotency.claim("ci", "k", "f", start.entry_id) == NewClaim()
            await begin(late, sent)
            await watching.see_a_lease_pass()
            assert await watcher.idempotency.claim("ci", "k", "f", "req_other") == NewClaim()
            with pytest.raises(Exception, match="Ask again with the same key"):
                await late.begin(start)
            assert not await late.idempotency.abandon(start.entry_id, b"failed")
            assert await watcher.idempotency.wait("ci", "k", 0) == InFlight("req_other")
            # what was sent before goes on, and has the last word
            await late.close(sent_entry)
            await late.idempotency.finish(sent.entry_id, b"late")
            assert await find(watcher, sent) == Completed(b"late")

    asyncio.run(main())


def test_who_leaves_settles_what_is_left_open(
    database: Any, tmp_path: Path, request_of: Build
) -> None:
    start, _entry = request_of(1)

    async def main() -> None:
        async with Store(database, data_dir=tmp_path) as leaving:
            await begin(leaving, start)
            assert await leaving.idempotency.claim("ci", "not sent", "f", "req_1") == NewClaim()
        async with Store(database, data_dir=tmp_path) as store:
            assert await find(store, start) == UnknownOutcome(start.entry_id)
            assert await store.idempotency.wait("ci", "not sent", 0) is None
            lost = store.entry(start.entry_id)
            assert lost is not None
            assert lost.error_code == "process_lost"

    asyncio.run(main())


# processes of this machine


@contextmanager
def child() -> Generator[tuple[subprocess.Popen[bytes], str]]:
    code = (
        "from devflow_store.processes import *; print(describe_this_process(), flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().decode().strip()
        process.kill()


def test_a_process_of_this_machine_that_has_ended_is_known_to_be_dead() -> None:
    own = describe_this_process()
    with child() as (process, described):
        assert described
        assert not has_ended(described, own)
        place, _, start = described.rpartition("/")
        assert has_ended(f"{place}/{int(start) + 1}", own)  # its number was given again
        assert not has_ended(f"x{described}", own)  # another machine's
        assert not has_ended("", own)
        assert not has_ended(described, "")
        process.kill()
        while not has_ended(described, own):  # as a zombie, too: nobody has waited for it
            pass
    assert has_ended(described, own)
    assert not has_ended(own, own)


def test_the_successor_of_a_killed_process_settles_its_keys_at_once(file: Path) -> None:
    described: list[str] = []
    with child() as (_, text):
        described.append(text)

    async def main() -> None:
        async with Store(file, lease_s=1e6) as watching:
            gone = Store(file, lease_s=1e6)
            gone._leases._process = described[0]
            async with gone:
                assert await gone.idempotency.claim("ci", "k", "f", "req_1") == NewClaim()
                await watching._renew_lease()
                assert await watching.idempotency.wait("ci", "k", 0) is None

    asyncio.run(main())


# an upgrade


def open_empty(database: Any) -> tuple[Session, str]:
    """Return a session on a database without tables, and its dialect."""
    if isinstance(database, Path):
        engine = SqliteEngine(database)
        engine.create_file()
        return engine.open_without_wal(), engine.dialect
    return PostgresEngine(database, folder=Path()).open_writer(), PostgresEngine.dialect


def test_an_upgrade_keeps_replies_and_leaves_what_was_under_way_undecided(
    database: Any, tmp_path: Path
) -> None:
    session, dialect = open_empty(database)
    session.begin()
    create_tables(session, 2, dialect)
    insert = "INSERT INTO idempotency VALUES ('ci', ?, 'f', ?, ?, 0, 9000000000000000, ?)"
    session.execute(insert, ("answered", "claim_1", "done", b"answer"))
    session.execute(insert, ("under way", "claim_2", "in flight", None))
    session.commit()
    session.close()

    async def main() -> None:
        async with Store(database, data_dir=tmp_path) as store:
            claims = store.idempotency
            assert await claims.claim("ci", "answered", "f", "req_1") == Completed(b"answer")
            assert await claims.claim("ci", "under way", "f", "req_2") == UnknownOutcome("")
            assert store.verify().ok

    asyncio.run(main())


def test_replies_are_forgotten_after_a_day(processes: tuple[Process, Process]) -> None:
    process = processes[0]

    async def main() -> None:
        async with process.store as store:
            claims = store.idempotency
            await claims.claim("ci", "k", "f", "req_1")
            await claims.finish("req_1", b"answer")
            process.ahead_us = 25 * HOUR_US
            assert await claims.claim("ci", "k", "f", "req_2") == NewClaim()
            rows = await store._submit(WriteJob(lambda tx: tx.execute("SELECT 1 FROM idempotency")))
            assert len(rows) == 1

    asyncio.run(main())
