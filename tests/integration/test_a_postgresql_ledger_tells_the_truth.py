"""A PostgreSQL that is stopped, killed, emptied, cut or locked under a running server."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from devflow_store import Store
from integration.ledger_faults import GatewayUnderFault, gateway
from integration.postgres_faults import DATABASE_FAULTS, Database, open_database


@pytest.fixture
def database() -> Generator[Database]:
    with open_database() as one:
        yield one


def _state(state: str) -> str:
    return f'devflow_ledger_state{{state="{state}",worker="0"}}'


@pytest.mark.parametrize("fault", DATABASE_FAULTS, ids=lambda fault: fault[0])
def test_the_server_says_what_became_of_its_database(
    tmp_path: Path, database: Database, fault: Any
) -> None:
    _name, states, strike = fault
    with gateway(tmp_path, "--no-key", DEVFLOW_LEDGER_URL=database.url) as one:
        for _ in range(3):
            assert one.ask().status == 200
        with one.asked_without_pause():
            undo = strike(database)
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
