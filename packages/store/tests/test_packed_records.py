"""Starts and entries take few bytes and few statements, and come back as they were written."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from devflow_core.errors import InvalidRequest
from devflow_core.ids import new_id
from devflow_core.ledger import Attempt, AttemptStart, LedgerEntry
from devflow_core.testing import an_attempt, an_entry
from devflow_store import Store
from devflow_store.budgets.reservations import BudgetReservations
from devflow_store.chain.packing import MIN_DEFLATED_CHARS, is_packed
from devflow_store.chain.records import (
    RowKind,
    StartRecord,
    decode_entry,
    decode_start,
    encode_entry,
    encode_record,
    encode_start,
)
from devflow_store.chain.transaction import Transaction
from devflow_store.database.engine import Rows, Session, SqlValue
from devflow_store.database.schema import create_tables
from devflow_store.engines.database_url import create_engine
from devflow_store.engines.sqlite import SqliteEngine
from devflow_store.entries.call_rows import CALL_COLUMNS, LABELS
from devflow_store.recorder import PROCESS_LOST, EntryRecorder
from hypothesis import given
from hypothesis import strategies as st

Build = Callable[..., tuple[AttemptStart, LedgerEntry]]
MAX_BYTES = 800
"""The most bytes of the file that a request takes whose decision is short."""
GROUP = 64
PHRASES = "49f1026902510201f890379ff702b3873c0762b4c9ae145f265af477e1ea2832"
GOLDEN = (
    "0201111111111111111111111111111111110070a119c86006003d0ad7a3703dda3f000000000000"
    "f43ffca9f1d24d62503f222222222222222222222222222222220070a119c86006009a9999999999"
    "d93f333333333333f33f031a041eafc1aa055896e0b7081c9e70b340f582a14eb4a181818e910130"
    "a880e6037d056cb839228dd7a703d38aa1b98581a589898999a92e30be81c3ec907801b1750d81c3"
    "ddb1c02a80d4348b9e84626b47cd40ce52c32b3c00"
)


def _values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for a type of the ledger's values."""
    plain: dict[Any, st.SearchStrategy[Any]] = {
        str: st.text(max_size=40),
        int: st.integers(0, 2**53),
        bool: st.booleans(),
        float: st.floats(0, 1e6),
        Decimal: st.decimals(0, 10**6, allow_nan=False, allow_infinity=False),
        datetime: st.datetimes(datetime(2000, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
        type(None): st.none(),
    }
    if hint in plain:
        return plain[hint]
    origin, parts = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        return _all_fields_of(hint)
    if origin is Literal:
        return st.sampled_from(parts)
    if origin in (Union, types.UnionType):
        return st.one_of([_values_of(part) for part in parts])
    if origin is tuple:
        return st.lists(_values_of(parts[0]), max_size=3).map(tuple)
    assert origin is Mapping
    return st.dictionaries(*map(_values_of, parts), max_size=3)


def _all_fields_of(kind: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for values of a dataclass that sets every field, with ids of our own."""
    hints = get_type_hints(kind)
    chosen = {one.name: _values_of(hints[one.name]) for one in fields(kind)}
    for name, prefix in (("entry_id", "req"), ("attempt_id", "att")):
        if name in chosen:
            chosen[name] = st.binary(min_size=16, max_size=16).map(
                lambda chance, prefix=prefix: f"{prefix}_{chance.hex()}"
            )
    return st.builds(kind, **chosen)


@given(_all_fields_of(LedgerEntry))
def test_every_field_of_an_entry_comes_back(entry: LedgerEntry) -> None:
    body = encode_entry(entry)
    assert is_packed(body)
    assert decode_entry(body) == entry


@given(_all_fields_of(AttemptStart))
def test_every_field_of_a_start_comes_back(start: AttemptStart) -> None:
    body = encode_start(start)
    assert is_packed(body)
    assert decode_start(body) == StartRecord(start=start)


@given(_all_fields_of(LedgerEntry), _all_fields_of(AttemptStart), _all_fields_of(Attempt))
def test_json_of_earlier_versions_is_read(
    entry: LedgerEntry, start: AttemptStart, ended: Attempt
) -> None:
    assert decode_entry(encode_record(entry)) == entry
    record = StartRecord(start=start, ended=(ended,))
    assert decode_start(encode_record(record)) == record
    assert decode_start(encode_start(start, (ended,))) == record


@pytest.mark.parametrize(
    "entry_id", ["r1", f"req_{'A' * 32}", f"req_{'0 ' * 16}", "req_" + "g" * 32]
)
def test_ids_of_another_kind_are_kept(entry_id: str) -> None:
    entry = an_entry(entry_id=entry_id)
    assert not is_packed(encode_entry(entry))
    assert decode_entry(encode_entry(entry)) == entry


def test_a_label_that_is_not_text_is_refused(request_of: Build) -> None:
    start, entry = request_of(0)
    labels = replace(start.attribution, project="\udcff")
    with pytest.raises(InvalidRequest, match="A label of the request"):
        encode_start(replace(start, attribution=labels))
    with pytest.raises(InvalidRequest, match="A label of the request"):
        encode_entry(replace(entry, decision="\udcff"))


def test_what_was_written_once_is_read_for_ever() -> None:
    """The phrases are part of every deflated body: changed, no body could be read."""
    phrases = resources.files("devflow_store.chain") / "phrases.1.txt"
    assert sha256(phrases.read_bytes()).hexdigest() == PHRASES
    entry = decode_entry(bytes.fromhex(GOLDEN))
    assert entry == an_entry(
        entry_id=f"req_{'1' * 32}",
        attempts=(an_attempt(attempt_id=f"att_{'2' * 32}"),),
        decision=_decision(),
    )


def _decision() -> str:
    decision = '{"snapshot":{"catalogue":"2026-08-16/89f050c81ee7"},"candidates":[]}'
    return decision * (MIN_DEFLATED_CHARS // len(decision) + 1)


def test_a_request_takes_few_bytes(file: Path, request_of: Build) -> None:
    async def write(count: int) -> None:
        async with Store(file) as store:
            requests = [request_of(number) for number in range(count)]
            await asyncio.gather(*(store.begin(start) for start, _entry in requests))
            await asyncio.gather(*(store.close(entry) for _start, entry in requests))

    asyncio.run(write(50))
    before = file.stat().st_size
    asyncio.run(write(400))
    taken = (file.stat().st_size - before) / 400
    assert taken < MAX_BYTES, taken


class CountingSession:
    """A session that counts the statements which change rows, and their values."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.changes: list[tuple[str, int]] = []

    def execute(self, sql: str, values: Sequence[SqlValue] = (), /) -> Rows:
        if not sql.startswith("SELECT"):
            self.changes.append((" ".join(sql.split()[:3]), len(values)))
        return self._session.execute(sql, values)


def test_a_group_takes_few_statements(file: Path, request_of: Build) -> None:
    engine = SqliteEngine(file)
    engine.prepare()
    session = engine.open_writer()
    recorder = EntryRecorder(BudgetReservations(), "own_1")
    requests = [request_of(number) for number in range(GROUP)]
    begun = (("INSERT INTO chain", 7 * GROUP), ("INSERT INTO open_attempts", 3 * GROUP))
    closed = (
        ("INSERT INTO chain", 7 * GROUP),
        ("INSERT INTO labels", 1 + len(LABELS)),  # the same for all
        ("INSERT INTO calls", len(CALL_COLUMNS) * GROUP),
        ("DELETE FROM open_attempts", GROUP),
    )
    phases = {
        begun: [recorder.begin(start, ()) for start, _entry in requests],
        closed: [recorder.close(entry) for _start, entry in requests],
    }
    for expected, jobs in phases.items():
        session.begin()
        counted = CountingSession(session)
        tx = Transaction(counted, 1)  # type: ignore[arg-type] # the part of a session that is used
        for job in jobs:
            job.run(tx)
        tx.finish()
        session.commit()
        assert tuple(counted.changes) == expected
    assert session.execute("SELECT COUNT(*) FROM open_attempts") == [(0,)]
    session.close()


def test_a_ledger_of_the_former_version_goes_on(
    database: Any, request_of: Build, tmp_path: Path
) -> None:
    """An entry in JSON stays what it was, and an attempt that was open is settled as lost."""
    engine = create_engine(database, tmp_path)
    (start, entry), (lost, _) = request_of(0), request_of(1)
    _write_version_4(engine, [start, lost], entry)

    async def main() -> None:
        async with Store(database, data_dir=tmp_path) as store:
            later, last = request_of(2)
            await store.begin(later)
            await store.close(last)
            await store.confirm(start.attempt_id, Decimal("0.5"))
            assert store.verify().ok
            found = {one.entry_id: one for one in store.entries()}
            assert found[entry.entry_id].cost_usd == Decimal("0.5")
            assert found[lost.entry_id].error_code == PROCESS_LOST
            assert found[last.entry_id] == last
            assert await store.erase(session_id="s1") == 7
            assert store.verify().ok

    asyncio.run(main())


def _write_version_4(engine: Any, starts: list[AttemptStart], entry: LedgerEntry) -> None:
    is_file = isinstance(engine, SqliteEngine)
    session = engine.open_without_wal() if is_file else engine.open_writer()
    session.begin()
    create_tables(session, 4, engine.dialect)
    tx = Transaction(session, 1)
    for start in starts:
        seq = tx.append(RowKind.START, start.attempt_id, encode_record(StartRecord(start=start)))
        if start.entry_id != entry.entry_id:
            tx.execute(
                "INSERT INTO open_attempts (attempt_id, entry_id, seq, owner) VALUES (?, ?, ?, ?)",
                (start.attempt_id, start.entry_id, seq, new_id("own")),
            )
    recorder = EntryRecorder(BudgetReservations(), "own_1")
    recorder.write_entry(tx, entry, encode_record(entry))
    tx.finish()
    session.commit()
    session.close()
