"""Whatever befalls the ledger under a running server: it says so, books nothing into the void, and
goes on by itself when it is well again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from devflow_core.errors import LedgerCorrupt
from devflow_core.settings import Settings
from devflow_gateway import open_gateway
from devflow_gateway.wiring import make_report
from devflow_store import Store
from integration.ledger_faults import (
    DISK_FULL,
    FILE_FAULTS,
    TRIO,
    GatewayUnderFault,
    LedgerFault,
    delete,
    gateway,
    replace_by_older,
    small_disk,
)
from pydantic import SecretStr

ENTRANCES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/v1/chat/completions", {}),
    ("/v1/chat/completions", {"stream": True}),
    ("/v1/messages", {}),
    ("/v1/messages", {"stream": True}),
    ("/v1/responses", {"input": "hi", "messages": None}),
)

COMMANDS = (
    ("report",),
    ("ledger", "verify"),
    ("ledger", "export"),
    ("ledger", "backup", "copy.db"),
    ("budget", "list"),
    ("keys", "list"),
    ("serve", "--sandbox", "--port", "0", "--no-key"),
    ("ask", "hi"),
)


def _check_told_and_refused(one: GatewayUnderFault, fault: LedgerFault) -> None:
    one.until(lambda: one.readyz()[0] == 503 and one.readyz()[1] in fault.states, "told")
    for path, fields in ENTRANCES:
        given = {name: value for name, value in fields.items() if value is not None}
        one.until(lambda: one.ask(path, **given).status == 503, "refused")  # noqa: B023 - at once
    metrics = one.metrics()
    assert metrics['devflow_ledger_up{worker="0"}'] == 0
    named = {state: metrics[_state(state)] for state in fault.states}
    assert max(named.values()) == 1, named
    assert any(f"state={state}" in one.child.err for state in fault.states), one.child.err


def _check_well_again(one: GatewayUnderFault) -> None:
    one.until(lambda: one.readyz() == (200, "ready"), "ready again")
    one.until(lambda: one.ask().status == 200, "paid again")
    one.until(lambda: one.metrics()['devflow_emergency_entries{worker="0"}'] == 0, "drained")
    metrics = one.metrics()
    assert (metrics['devflow_ledger_up{worker="0"}'], metrics[_state("ready")]) == (1, 1)
    assert "ledger_ready" in one.child.err


def _state(state: str) -> str:
    return f'devflow_ledger_state{{state="{state}",worker="0"}}'


def _check_books(one: GatewayUnderFault) -> None:
    store = Store(one.data_dir / "ledger.db")
    found = store.verify()
    assert found.ok, found.reason
    assert set(one.acknowledged) <= {entry.entry_id for entry in store.entries()}


def _suffer(home: Path, fault: LedgerFault) -> None:
    with gateway(home, "--no-key") as one:
        for _ in range(3):
            assert one.ask().status == 200
        with one.asked_without_pause():
            undo = fault.strike(one.data_dir)
            _check_told_and_refused(one, fault)
            undo()
            _check_well_again(one)
    _check_books(one)


@pytest.mark.parametrize("fault", FILE_FAULTS, ids=lambda fault: fault.name)
def test_the_server_says_what_became_of_its_ledger(tmp_path: Path, fault: LedgerFault) -> None:
    _suffer(tmp_path, fault)


def test_the_server_says_that_the_disk_is_full(tmp_path: Path) -> None:
    try:
        with small_disk(tmp_path / "data"):
            _suffer(tmp_path, DISK_FULL)
    except PermissionError as error:
        pytest.skip(f"this user may mount no disk: {error}")


def test_a_log_that_is_deleted_is_folded_back_from_what_is_open(tmp_path: Path) -> None:
    with gateway(tmp_path, "--no-key") as one, one.asked_without_pause():
        for _ in range(3):
            assert one.ask().status == 200
        delete("ledger.db-wal")(one.data_dir)
        one.until(lambda: "state=vanished" in one.child.err, "told")
        _check_well_again(one)
    _check_books(one)


def _wait_for_workers(one: GatewayUnderFault) -> None:
    seen = set[str]()

    def both() -> bool:
        seen.update(name for name in one.metrics() if name.startswith("devflow_ledger_up"))
        return len(seen) == 2

    one.until(both, "both of them serve")


@pytest.mark.parametrize("lost", ["ledger.db-wal", "ledger.db-shm"])
def test_several_workers_lose_nothing_with_a_log_that_is_deleted(tmp_path: Path, lost: str) -> None:
    with gateway(tmp_path, "--no-key", "--workers", "2") as one:
        _wait_for_workers(one)
        with one.asked_without_pause(), one.asked_without_pause():
            for _ in range(3):
                assert one.ask().status == 200
            for _ in range(2):
                before = one.child.err.count("ledger_ready")
                (one.data_dir / lost).unlink()
                one.until(lambda: one.child.err.count("ledger_ready") > before, "well again")  # noqa: B023 - at once
        one.until(lambda: one.ask().status == 200, "paid again")
    _check_books(one)


def test_every_worker_tells_of_a_file_that_was_exchanged(tmp_path: Path) -> None:
    with gateway(tmp_path, "--no-key", "--workers", "2") as one:
        _wait_for_workers(one)
        with one.asked_without_pause():
            for _ in range(3):
                assert one.ask().status == 200
            undo = replace_by_older(one.data_dir)
            one.until(lambda: {one.readyz() for _ in range(20)} == {(503, "replaced")}, "told")
            undo()
            one.until(lambda: {one.readyz() for _ in range(20)} == {(200, "ready")}, "well again")
        assert one.ask().status == 200
    _check_books(one)


def test_every_worker_tells_of_its_own(tmp_path: Path) -> None:
    with gateway(tmp_path, "--no-key", "--workers", "2") as one:
        one.until(lambda: one.ask().status == 200, "served")
        undo = delete(*TRIO)(one.data_dir)
        one.until(lambda: {one.readyz() for _ in range(20)} == {(503, "vanished")}, "told by all")
        undo()
        one.until(lambda: {one.readyz() for _ in range(20)} == {(200, "ready")}, "ready again")
        assert one.ask().status == 200
    _check_books(one)


def test_keys_are_read_from_a_ledger_that_works_and_from_no_other(tmp_path: Path) -> None:
    with gateway(tmp_path) as one:
        key = one.served.first_key
        assert one.served.ask("GET", "/v1/models", key=key).status == 200
        undo = delete(*TRIO)(one.data_dir)
        one.until(lambda: one.readyz() == (503, "vanished"), "told")
        one.until(lambda: one.served.ask("GET", "/v1/models", key=key).status == 503, "refused")
        for path in ("/v1/models", "/metrics"):
            assert one.served.ask("GET", path, key="devflow_of-nobody-at-all").status == 503
        metrics = one.served.ask("GET", "/metrics", key=key)
        assert f"{_state('vanished')} 1.0" in metrics.body.decode()
        undo()
        one.until(lambda: one.readyz() == (200, "ready"), "ready again")
        assert one.served.ask("GET", "/v1/models", key=key).status == 200
        assert one.served.ask("GET", "/v1/models", key="devflow_of-nobody-at-all").status == 401


def test_reading_goes_on_while_the_disk_is_full(tmp_path: Path) -> None:
    try:
        with small_disk(tmp_path / "data"), gateway(tmp_path) as one:
            key = one.served.first_key
            undo = DISK_FULL.strike(one.data_dir)
            one.until(lambda: one.readyz() == (503, "full"), "told")
            assert one.served.ask("GET", "/v1/models", key=key).status == 200
            assert b"devflow_ledger_up" in one.served.ask("GET", "/metrics", key=key).body
            assert one.served.devflow("report", "--data-dir", str(one.data_dir)).status == 0
            undo()
    except PermissionError as error:
        pytest.skip(f"this user may mount no disk: {error}")


@pytest.mark.parametrize("lost", [TRIO, TRIO[:1]], ids=["all", "only the file"])
def test_no_command_takes_a_new_ledger_for_the_one_that_was_noted(
    tmp_path: Path, lost: tuple[str, ...]
) -> None:
    with gateway(tmp_path, "--no-key") as one:
        assert one.ask().status == 200
        undo = delete(*lost)(one.data_dir)
        one.until(lambda: one.readyz()[0] == 503, "told")
    for command in COMMANDS:
        done = one.served.devflow(*command, "--data-dir", str(one.data_dir))
        assert done.status == 1, (command, done.out, done.err)
        assert "devflow ledger restore" in done.err
        assert "ledger.db.head" in done.err
        assert not (one.data_dir / "ledger.db").exists()
    undo()
    _check_books(one)


async def test_no_program_takes_a_new_ledger_for_the_one_that_was_noted(tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path, base_url="http://127.0.0.1:9/api/v1", api_key=SecretStr("sk-none")
    )
    async with open_gateway(settings):
        await _book_something(tmp_path / "ledger.db")
    for name in ("ledger.db", "ledger.db-wal", "ledger.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    with pytest.raises(LedgerCorrupt, match=r"notes 1 rows of it.*ledger restore.*remove"):
        async with open_gateway(settings):
            pass
    with pytest.raises(LedgerCorrupt, match="ledger restore"):
        make_report(settings)
    assert not (tmp_path / "ledger.db").exists()
    (tmp_path / "ledger.db.head").unlink()
    async with open_gateway(settings):  # begun anew on purpose
        pass


async def _book_something(file: Path) -> None:
    async with Store(file) as store:
        await store.nodes.set("main", {})


def test_a_backup_takes_the_place_of_a_ledger_that_is_gone(tmp_path: Path) -> None:
    with gateway(tmp_path, "--no-key") as one:
        assert one.ask().status == 200
        backup = ("ledger", "backup", "copy.db", "--data-dir", str(one.data_dir))
        assert one.served.devflow(*backup).status == 0
        saved = list(one.acknowledged)
        assert one.ask().status == 200
        delete("ledger.db")(one.data_dir)
        one.until(lambda: one.readyz()[0] == 503, "told")
    restore = ("ledger", "restore", "copy.db", "--data-dir", str(one.data_dir))
    done = one.served.devflow(*restore)
    assert done.status == 0, done.err
    one.acknowledged[:] = saved
    with gateway(tmp_path, "--no-key") as again:
        assert again.ask().status == 200
        one.acknowledged += again.acknowledged
    _check_books(one)
