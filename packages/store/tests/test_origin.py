"""A ledger knows which upstream its calls went to, and takes no call to another one."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from devflow_core.errors import BudgetExceeded
from devflow_core.ledger import AttemptStart, LedgerEntry
from devflow_store import Budget, LedgerOrigin, OtherUpstream, Store, restore
from devflow_store.chain.origin import SANDBOX_KEY_ID

Build = Callable[..., tuple[AttemptStart, LedgerEntry]]
REAL = LedgerOrigin(name="openrouter.ai", key_ids=frozenset({"real"}))
PROXY = LedgerOrigin(name="proxy.example/v1")
LOOPBACK = LedgerOrigin(name="loopback", key_ids=frozenset({SANDBOX_KEY_ID}))


@pytest.fixture
def book(request_of: Build) -> Callable[..., None]:
    """Return a function that books a call through a new `Store`, as a separate process would."""

    async def main(
        database: str | Path, origin: LedgerOrigin | None, number: int, key_id: str | None
    ) -> None:
        start, entry = request_of(number)
        async with Store(database, origin=origin) as store:
            await store.begin(replace(start, key_id=key_id))
            await store.close(entry)

    def run(
        database: str | Path,
        origin: LedgerOrigin | None,
        number: int = 0,
        key_id: str | None = None,
    ) -> None:
        asyncio.run(main(database, origin, number, key_id))

    return run


Book = Callable[..., None]


@pytest.mark.parametrize(
    ("first", "second"),
    [(REAL, LOOPBACK), (LOOPBACK, REAL), (REAL, PROXY)],
    ids=lambda one: one.name,
)
def test_calls_to_another_upstream_are_refused(
    database: str | Path, book: Book, first: LedgerOrigin, second: LedgerOrigin
) -> None:
    book(database, first)
    with pytest.raises(OtherUpstream, match="--data-dir"):
        book(database, second, 1)
    book(database, first, 2)
    store = Store(database, origin=second)
    with pytest.raises(OtherUpstream, match="devflow ledger upstream --accept"):
        store.origin.require()
    assert store.origin.read() == first.name
    assert len(list(store.entries())) == 2
    assert store.verify().ok


def test_the_first_of_two_processes_decides(database: str | Path, request_of: Build) -> None:
    async def main() -> None:
        async with (
            Store(database, origin=REAL) as real,
            Store(database, origin=LOOPBACK) as stand_in,
        ):
            tries = [
                store.begin(request_of(number)[0])
                for number, store in enumerate([real, stand_in] * 10)
            ]
            ends = await asyncio.gather(*tries, return_exceptions=True)
        refused = [isinstance(one, OtherUpstream) for one in ends]
        assert refused in ([False, True] * 10, [True, False] * 10)
        store = Store(database)
        assert store.origin.read() == ("openrouter.ai" if refused[1] else "loopback")
        assert store.verify().ok

    asyncio.run(main())


def test_what_is_refused_for_another_reason_notes_nothing(file: Path, request_of: Build) -> None:
    limit = Budget(id="none", scope="global", window="lifetime", limit_usd=Decimal(0))

    async def main() -> None:
        async with Store(file, origin=LOOPBACK) as store:
            await store.budgets.set(limit)
            with pytest.raises(BudgetExceeded):
                await store.begin(request_of()[0])
        assert store.origin.read() is None

    asyncio.run(main())


def test_a_ledger_without_a_note_is_taken_for_that_of_its_next_call(
    database: str | Path, book: Book
) -> None:
    book(database, None, 0, "some")
    book(database, PROXY, 1)
    assert Store(database).origin.read() == PROXY.name
    with pytest.raises(OtherUpstream):
        book(database, REAL, 2)


def test_a_ledger_without_a_note_whose_calls_are_the_stand_ins_is_not_a_real_one(
    database: str | Path, book: Book
) -> None:
    book(database, None, 0, SANDBOX_KEY_ID)
    with pytest.raises(OtherUpstream, match="devflow sandbox"):
        book(database, REAL, 1, "real")
    book(database, LOOPBACK, 2, SANDBOX_KEY_ID)
    assert Store(database).origin.read() == "loopback"


def test_a_ledger_without_a_note_whose_calls_are_real_is_not_the_stand_ins(
    database: str | Path, book: Book
) -> None:
    book(database, None, 0, "real")
    with pytest.raises(OtherUpstream, match="another upstream"):
        book(database, LOOPBACK, 1, SANDBOX_KEY_ID)
    book(database, REAL, 2, "real")
    assert Store(database).origin.read() == "openrouter.ai"


def test_a_ledger_without_a_note_that_holds_both_stays_the_real_one(file: Path, book: Book) -> None:
    book(file, None, 0, "real")
    book(file, None, 1, SANDBOX_KEY_ID)
    with pytest.raises(OtherUpstream):
        book(file, LOOPBACK, 2, SANDBOX_KEY_ID)
    book(file, REAL, 3, "real")


def test_a_local_proxy_keeps_its_ledger_of_before(file: Path, book: Book) -> None:
    proxy = LedgerOrigin(name="loopback", key_ids=frozenset({"real"}))
    book(file, None, 0, "real")
    book(file, proxy, 1, "real")
    assert Store(file).origin.read() == "loopback"


def test_a_new_address_is_accepted_on_demand(database: str | Path, book: Book) -> None:
    book(database, REAL)

    async def accept(*names: str) -> None:
        async with Store(database, origin=PROXY) as store:
            for name in names:
                await store.origin.accept(name)

    asyncio.run(accept(PROXY.name, PROXY.name))
    book(database, PROXY, 1)
    with pytest.raises(OtherUpstream):
        book(database, REAL, 2)
    asyncio.run(accept(REAL.name))
    book(database, REAL, 3)
    assert Store(database).verify().ok


def test_a_backup_that_is_restored_is_still_the_same_upstreams(file: Path, book: Book) -> None:
    target = file.with_name("backup.db")
    book(file, LOOPBACK)

    async def main() -> None:
        async with Store(file) as store:
            await store.backup(target)

    asyncio.run(main())
    real = file.with_name("real.db")
    restore(target, real)
    with pytest.raises(OtherUpstream):
        book(real, REAL, 1)
    assert Store(real).origin.read() == "loopback"
    assert Store(real).verify().ok
