"""Measures the durable ledger: requests per second, CPU per request, reports over a million calls.

A request is two durable writes: `begin` before bytes leave, `close` at the end. Each returns
after its commit is on the disk (`synchronous=FULL`). Goals: at least 1,000 durable requests a
second and process; a report over a million calls in under 2 s.

`--postgres URL` adds the same over a PostgreSQL server.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import filled_ledger
import harness
from devflow_core.attribution import Attribution
from devflow_core.dimensions import GroupBy
from devflow_core.testing import a_booked_request
from devflow_store import Budget, Store, make_store

NOW = datetime.now(UTC)
BUDGETS = (
    Budget(scope="global", window="month", limit_usd=Decimal(1_000_000)),
    Budget(scope="session", value="*", window="day", limit_usd=Decimal(1_000_000)),
)


ATTRIBUTION = Attribution(session_id="0f3c9a", project="shop", client_key="ci")


async def run_round(store: Store, count: int, in_flight: int) -> harness.Timing:
    """Write prepared requests, `in_flight` callers at a time."""
    requests = iter([a_booked_request(attribution=ATTRIBUTION, at=NOW) for _ in range(count)])

    async def write() -> None:
        start, entry = next(requests)
        await store.begin(start)
        await store.close(entry)

    return await harness.measure_round(write, count, in_flight=in_flight)


async def measure_writes(
    report: harness.Report, places: dict[str, str | Path], folder: Path, *, quick: bool
) -> None:
    """Measure every place in interleaved rounds; `folder` is for what a store keeps beside it."""
    shapes = {1: 200, 64: 2_000, 512: 4_000}
    timings: dict[tuple[str, int], list[harness.Timing]] = {}
    for _round in range(2 if quick else 7):
        for name, place in places.items():
            async with Store(place, data_dir=folder) as store:
                for budget in BUDGETS if "budgets" in name else ():
                    await store.budgets.set(budget)
                for in_flight, count in shapes.items():
                    timing = await run_round(store, count // 2 if quick else count, in_flight)
                    timings.setdefault((name, in_flight), []).append(timing)
    for (name, in_flight), timed in timings.items():
        label = f"{name}, {in_flight} in flight"
        report.add(label, "requests", "1/s", [one.per_s for one in timed])
        report.add(label, "cpu_us", "µs", [one.cpu_us for one in timed])


def measure_filled(report: harness.Report, *, quick: bool) -> None:
    """Measure a ledger that many requests have filled: its size, and the sums that reports read."""
    rows = filled_ledger.QUICK_ROWS if quick else filled_ledger.ROWS
    folder = filled_ledger.make_ledger(rows)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    report.add("filled ledger", "bytes a request", "B", [size / rows])
    store = make_store(filled_ledger.settings_for(folder))
    groupings: tuple[tuple[GroupBy, ...], ...] = (
        ("model",),
        ("day",),
        ("model", "task", "session"),
    )
    for by in groupings:
        seconds: list[float] = []
        for _round in range(3):
            start_s = time.perf_counter()
            store.aggregate(by)
            seconds.append(time.perf_counter() - start_s)
        report.add(f"report by {', '.join(by)}, {rows:,} requests", "time", "s", seconds)


def measure_reads(report: harness.Report, file: Path) -> None:
    """Measure reading entries back, and verifying the chain."""
    store = Store(file)
    start_s = time.perf_counter()
    count = sum(1 for _entry in store.entries())
    report.add("entries read back", "time", "µs", [(time.perf_counter() - start_s) / count * 1e6])
    start_s = time.perf_counter()
    verified = store.verify()
    assert verified.ok
    assert verified.entries == count
    report.add("verify, a request", "time", "µs", [(time.perf_counter() - start_s) / count * 1e6])


def main() -> None:
    """Run the benchmark."""

    def extend(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--postgres", metavar="URL", help="also over this server (empty)")

    options = harness.parse_arguments(__doc__, extend)
    report = harness.Report()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        places: dict[str, str | Path] = {
            "sqlite": folder / "ledger.db",
            "sqlite, 2 budgets": folder / "budgets.db",
        }
        if options.postgres:
            places["postgresql"] = options.postgres
        asyncio.run(measure_writes(report, places, folder, quick=options.quick))
        measure_reads(report, folder / "ledger.db")
    measure_filled(report, quick=options.quick)
    report.finish(options)


if __name__ == "__main__":
    main()
