"""Erased labels are gone, amounts stay, and an export cannot run anything."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from devflow_core.attribution import Attribution
from devflow_core.errors import InvalidRequest
from devflow_core.ledger import AttemptStart, LedgerEntry
from devflow_store import Store
from devflow_store.engines.sqlite import SqliteEngine

Build = Callable[..., tuple[AttemptStart, LedgerEntry]]
_SAID: dict[str, Any] = {
    one.name: f"hush-{one.name}" for one in fields(Attribution) if one.name != "tags"
}
SECRET = replace(
    Attribution(**_SAID, tags={"hush-tag": "hush-value"}),
    session_id="0bad-5e55",
)


async def _fill(store: Store, requests: list[tuple[AttemptStart, LedgerEntry]]) -> None:
    for start, entry in requests:
        await store.begin(start)
        await store.close(entry)


def test_an_erased_session_is_nowhere_and_its_cost_remains(
    database: Any, request_of: Build
) -> None:
    async def main() -> None:
        async with Store(database) as store:
            theirs, ours = request_of(1, attribution=SECRET, cost_usd="0.5"), request_of(2)
            await _fill(store, [theirs, ours])
            await store.confirm(theirs[1].attempts[0].attempt_id, Decimal("0.25"))
            before = store.groups("model")
            assert await store.erase(session_id="0bad-5e55") == 3
            assert await store.erase(session_id="0bad-5e55") == 0
            assert store.groups("model") == before
            assert set(store.groups("session")) == {"", "s1"}
            assert list(store.entries()) == [ours[1]]
            assert store.entry(theirs[1].entry_id) is None
            found = store.verify()
            assert (found.ok, found.entries) == (True, 2)

    asyncio.run(main())


def test_no_file_holds_what_was_erased(file: Path, request_of: Build) -> None:
    async def main() -> None:
        async with Store(file) as store:
            await _fill(store, [request_of(number, attribution=SECRET) for number in range(50)])
            await _fill(store, [request_of(number) for number in range(50)])
            await store.erase(session_id="0bad-5e55")
            content = b"".join(path.read_bytes() for path in sorted(file.parent.iterdir()))
            assert b"hush" not in content
            assert b"0bad-5e55" not in content

    asyncio.run(main())


def test_retention_takes_the_labels_of_old_rows_only(database: Any, request_of: Build) -> None:
    async def main() -> None:
        async with Store(database) as store:
            requests = [request_of(number) for number in range(10)]
            await _fill(store, requests)
            limit = requests[0][1].started_at + timedelta(seconds=5)
            assert await store.erase(before=limit) == 10
            assert list(store.entries()) == [entry for _start, entry in requests[5:]]
            sessions = store.groups("session")
            assert (sessions[""].requests, sessions["s1"].requests) == (5, 5)
            assert store.verify().ok

    asyncio.run(main())


def test_a_store_with_a_retention_forgets_by_itself(file: Path, request_of: Build) -> None:
    old, fresh = request_of(1), request_of(2, at=datetime.now(UTC))

    async def main() -> None:
        async with Store(file) as store:
            await _fill(store, [old, fresh])
        async with Store(file, retention=timedelta(hours=1)) as store, asyncio.timeout(60):
            while store.entry(old[1].entry_id) is not None:  # noqa: ASYNC110 - another task's work
                await asyncio.sleep(0.05)
            assert list(store.entries()) == [fresh[1]]
            assert store.verify().ok

    asyncio.run(main())


def test_what_is_in_flight_is_not_erased(database: Any, request_of: Build) -> None:
    async def main() -> None:
        async with Store(database) as store:
            start, entry = request_of(1)
            await store.begin(start)
            assert await store.erase(session_id="s1") == 0
            await store.close(entry)
            assert store.entry(entry.entry_id) == entry

    asyncio.run(main())


def test_content_removed_without_an_erasure_is_named(file: Path, request_of: Build) -> None:
    async def main() -> None:
        async with Store(file) as store:
            await _fill(store, [request_of(number) for number in range(3)])
            await store.erase(before=request_of(1)[1].started_at)

    asyncio.run(main())
    assert Store(file).verify().ok
    session = SqliteEngine(file).open_writer()
    session.execute(
        "UPDATE chain SET digest = (SELECT hash FROM chain WHERE seq = 5) WHERE seq = 5"
    )
    assert Store(file).verify().ok  # a digest beside its body says nothing
    session.execute("UPDATE chain SET body = NULL, digest = NULL WHERE seq = 5")
    assert Store(file).verify().first_bad == 5


def test_erasing_needs_one_reason(file: Path) -> None:
    async def main() -> None:
        async with Store(file) as store:
            with pytest.raises(InvalidRequest):
                await store.erase()

    asyncio.run(main())


def test_an_export_holds_everything_and_no_formula(database: Any, request_of: Build) -> None:
    async def main() -> None:
        async with Store(database) as store:
            start, entry = request_of(1, attribution=Attribution(session_id="s1", project="=cmd()"))
            nobody = replace(
                request_of(2, attribution=Attribution(session_id="s1"))[1],
                attempts=(),
                outcome="failed",
            )
            await _fill(store, [(start, entry), (request_of(3)[0], nobody)])
            lines = [orjson.loads(line) for line in store.export("jsonl")]
            assert [one["entry_id"] for one in lines] == [entry.entry_id, nobody.entry_id]
            assert lines[0]["attempts"][0]["cost_usd"] == "0.00123"
            table = list(csv.DictReader(io.StringIO("".join(store.export("csv")))))
            assert [row["attempt"] for row in table] == ["1", "0"]
            assert table[0]["project"] == "'=cmd()"
            assert table[0]["cost_usd"] == "0.00123"
            assert table[1]["model"] == "auto"

    asyncio.run(main())
