"""A restored ledger holds exactly what the chain proves, in tables that we created."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from devflow_core.errors import BudgetExceeded, ConfigurationError, LedgerCorrupt, StoreError
from devflow_core.ledger import AttemptStart, LedgerEntry
from devflow_store import Budget, Store, restore
from devflow_store.engines.sqlite import SqliteEngine

Build = Callable[..., tuple[AttemptStart, LedgerEntry]]
LIMIT = Budget(id="limit", scope="global", window="lifetime", limit_usd=Decimal("0.0215"))


@pytest.fixture
def backup(file: Path, request_of: Build) -> Path:
    """Return a backup of a ledger with calls, a budget, a node, a valid and a revoked key."""
    target = file.with_name("backup.db")

    async def main() -> None:
        async with Store(file) as store:
            await store.budgets.set(LIMIT)
            await store.nodes.set("main", {"model": "auto"})
            await store.keys.create("in force", {"models": ["z-ai/*"]})
            revoked, _ = await store.keys.create("revoked", {"routes": ["chat"]})
            await store.keys.revoke(revoked.id)
            for number in range(10):
                start, entry = request_of(number)
                await store.begin(start)
                await store.close(entry)
            await store.backup(target)

    asyncio.run(main())
    return target


def touch(file: Path, *statements: str) -> None:
    session = SqliteEngine(file).open_without_wal()
    for statement in statements:
        session.execute(statement)
    session.close()


def test_what_was_backed_up_comes_back(backup: Path, file: Path) -> None:
    before = list(Store(file).entries())
    aside = restore(backup, file)
    assert aside is not None

    async def main() -> None:
        async with Store(file) as store:
            names = {one.name: one.revoked_at for one in await store.keys.list()}
            assert names["in force"] is None
            assert names["revoked"] is not None
            assert await store.nodes.all() == {"main": {"model": "auto"}}
            (state,) = store.budget_states()
            assert state.budget == LIMIT
            assert state.spent_usd == 10 * Decimal("0.00123")

    asyncio.run(main())
    assert list(Store(file).entries()) == before
    assert Store(file).verify().ok


@pytest.mark.parametrize(
    "foreign",
    [
        "CREATE TRIGGER t1 AFTER INSERT ON client_keys BEGIN DELETE FROM budgets; END",
        "CREATE VIEW v1 AS SELECT * FROM client_keys",
        "CREATE TABLE more (id INTEGER REFERENCES chain (seq) ON DELETE CASCADE)",
        "CREATE INDEX i1 ON budgets (body)",
        "ALTER TABLE budgets ADD COLUMN more TEXT",
        "ALTER TABLE budgets RENAME COLUMN body TO text",
        "DROP INDEX chain_key",
    ],
)
def test_a_schema_that_is_not_ours_is_refused(backup: Path, file: Path, foreign: str) -> None:
    touch(backup, foreign)
    before = file.read_bytes()
    with pytest.raises(LedgerCorrupt, match=r"did not make|is missing"):
        restore(backup, file)
    assert file.read_bytes() == before
    assert sorted(one.name for one in file.parent.iterdir() if "restoring" in one.name) == []


@pytest.mark.parametrize(
    ("forged", "named"),
    [
        ("UPDATE client_keys SET scopes = '{}' WHERE name = 'in force'", "client key"),
        ("UPDATE client_keys SET revoked_us = NULL", "client key"),
        ("UPDATE client_keys SET expires_us = 1", "client key"),
        ("UPDATE client_keys SET hash = x'00' WHERE name = 'in force'", "client key"),
        ("DELETE FROM client_keys WHERE name = 'in force'", "client key"),
        (
            "INSERT INTO client_keys VALUES ('key_x', x'01', 'mine', 'd', '{}', 1, NULL, NULL)",
            "client key key_x",
        ),
        ("DELETE FROM budgets", "budget limit"),
        ("UPDATE budgets SET body = replace(body, '0.0215', '9999')", "budget limit"),
        ("INSERT INTO nodes VALUES ('small', '{}')", "node small"),
        ('UPDATE nodes SET config = \'{"model": "dear/model"}\'', "node main"),
    ],
)
def test_settings_that_the_chain_does_not_vouch_for_are_named(
    backup: Path, file: Path, forged: str, named: str
) -> None:
    touch(backup, forged)
    found = Store(backup).verify()
    assert not found.ok
    assert named in (found.reason or "")
    with pytest.raises(LedgerCorrupt, match=named):
        restore(backup, file)


def test_what_a_budget_has_spent_is_counted_again(
    backup: Path, file: Path, request_of: Build
) -> None:
    touch(
        backup,
        "UPDATE accounts SET spent_pico = -1000000000000",
        "INSERT INTO holds VALUES ('req_x', 'att_x', 'limit', '', 0, -1000000000000, 0)",
    )
    restore(backup, file)

    async def main() -> None:
        async with Store(file) as store:
            with pytest.raises(BudgetExceeded):
                await store.begin(request_of(50, at=datetime.now(UTC))[0])

    asyncio.run(main())


def test_replies_that_were_put_in_are_left_behind(backup: Path, file: Path) -> None:
    touch(
        backup,
        "INSERT INTO idempotency VALUES ('s', 'k', 'f', 'r', 'done', 9000000000000000, x'00', 'o')",
    )
    restore(backup, file)
    session = SqliteEngine(file).open_reader()
    assert session.execute("SELECT count(*) FROM idempotency") == [(0,)]
    session.close()


def test_a_live_ledger_with_a_trigger_is_not_opened(file: Path, request_of: Build) -> None:
    async def main() -> None:
        async with Store(file) as store:
            await store.begin(request_of(1)[0])

    asyncio.run(main())
    touch(file, "CREATE TRIGGER t1 AFTER INSERT ON chain BEGIN DELETE FROM budgets; END")
    with pytest.raises(LedgerCorrupt, match="trigger 't1'"):
        asyncio.run(main())


def test_a_file_of_a_newer_version_is_not_restored(backup: Path, file: Path) -> None:
    touch(backup, "UPDATE store_schema SET version = 99")
    with pytest.raises(StoreError, match="no ledger that this version can read"):
        restore(backup, file)


def test_a_key_that_an_older_version_made_is_sealed_at_the_next_start(file: Path) -> None:
    async def make() -> None:
        async with Store(file) as store:
            await store.keys.create("old", {"routes": ["chat"]})

    async def start() -> None:
        async with Store(file):
            pass

    asyncio.run(make())
    # as it was written before: the chain's row says only that the key was made
    session = SqliteEngine(file).open_reader()
    ((key_id,),) = session.execute("SELECT id FROM client_keys")
    session.close()
    older = file.with_name("older.db")
    rewrite_without_seal(file, older, key_id)
    file.unlink()
    older.rename(file)
    Path(f"{file}.head").unlink()
    assert Store(file).verify().ok
    asyncio.run(start())
    assert Store(file).verify().ok
    touch(file, "UPDATE client_keys SET scopes = '{}'")
    assert not Store(file).verify().ok


def rewrite_without_seal(file: Path, older: Path, key_id: str) -> None:
    """Write a copy whose chain holds only the key's row, as an older version wrote it."""
    import orjson
    from devflow_store.chain.records import RowKind
    from devflow_store.chain.transaction import Transaction

    SqliteEngine(file).backup(older)
    session = SqliteEngine(older).open_without_wal()
    session.execute("DELETE FROM chain")
    session.begin()
    tx = Transaction(session, 1)
    body = orjson.dumps({"client_key": key_id, "name": "old", "created": True})
    tx.append(RowKind.CHANGE, key_id, body)
    tx.finish()
    session.commit()
    session.close()


def test_a_backup_may_be_named_by_a_link_and_the_folder_must_be_ones_own(
    backup: Path, file: Path
) -> None:
    link = backup.with_name("latest.db")
    link.symlink_to(backup)
    restore(link, file)
    assert Store(file).verify().ok
    file.parent.chmod(0o777)
    with pytest.raises(ConfigurationError, match="chmod"):
        restore(backup, file)
    file.parent.chmod(0o700)
