"""Measures reports over a ledger of a million rows, and tracking one entry.

The table that reports add up is filled directly: how the ledger comes to write it is measured
elsewhere. They are a year of one team: sessions of 50 requests, one after another, each with five
kinds of calls (its model, its tasks), 12 models, 9 tasks, 7 projects, 365 days.

    uv run python benchmarks/reports.py [--quick] [--json FILE]
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import harness
from devflow_analytics import CostTracker, Reporter, UsageTracker, to_html
from devflow_core.dimensions import GroupBy
from devflow_core.testing import an_entry
from devflow_openrouter.models.catalogue import load_shipped_catalogue
from devflow_store import Store
from devflow_store.chain.transaction import Transaction
from devflow_store.engines.sqlite import SqliteEngine
from devflow_store.entries.day_sums import build_step_job

ROWS, QUICK_ROWS, ROUNDS = 1_000_000, 100_000, 5
TASKS, DAY_US = 9, 86_400_000_000
CALLS_A_SESSION, KINDS_A_SESSION = 50, 5
GROUPINGS: tuple[GroupBy, ...] = ("model", "task", "session", "day")
LABELS = ("model", "provider", "task", "session", "project", "branch", "agent", "client_key")


async def make_ledger(file: Path) -> None:
    """Create an empty ledger."""
    async with Store(file):
        pass


def sum_up(file: Path) -> None:
    """Add all calls to the sums of days, as a gateway does beside its requests."""
    session = SqliteEngine(file, synchronous="OFF").open_writer()
    is_left = True
    while is_left:
        session.begin()
        is_left = build_step_job().run(Transaction(session, 0))
        session.commit()
    session.close()


def fill(file: Path, rows: int, models: list[str]) -> None:
    """Insert attempts, one per request."""
    chance = random.Random(1)  # noqa: S311 - the same rows each time
    kinds = [
        (session, models[session % 3 if chance.random() < 0.8 else chance.randrange(len(models))],
         "P", f"task-{kind and chance.randrange(TASKS)}", f"session-{session}",
         f"project-{session % 7}", "main", "main", "ci")
        for session in range(max(1, rows // CALLS_A_SESSION)) for kind in range(KINDS_A_SESSION)
    ]  # fmt: skip
    with sqlite3.connect(file) as database:
        database.executemany(
            f"INSERT INTO labels (id, {', '.join(LABELS)}, node, error) "  # noqa: S608 - constants
            f"VALUES ({', '.join('?' * 9)}, '', '')",
            [(number, *one[1:]) for number, one in enumerate(kinds)],
        )
        places = ", ".join("?" * 16)
        database.executemany(
            f"INSERT INTO calls VALUES ({places})",  # noqa: S608 - constants
            _iter_calls(chance, rows),
        )
        # sums follow the numbers of the chain
        database.execute(
            "INSERT INTO chain (seq, kind, key, at_us, hash) VALUES (?, 1, '', 0, X'')", (rows,)
        )
    database.close()


def _iter_calls(chance: random.Random, rows: int) -> Iterator[tuple[int, ...]]:
    start_us = 1_763_000_000_000_000
    for seq in range(1, rows + 1):
        session = (seq - 1) // CALLS_A_SESSION
        kind = min(chance.randrange(2 * KINDS_A_SESSION), KINDS_A_SESSION - 1)
        yield (
            session * KINDS_A_SESSION + kind, seq, 1, start_us + seq * 365 * DAY_US // rows, 1, 0,
            chance.randrange(10**10), 0, 2_000, chance.randrange(20_000), 1_000, 0, 400, 0,
            chance.randrange(60, 90), chance.randrange(80, 110),
        )  # fmt: skip


def measure_wall_s(work: Callable[[], object]) -> float:
    """Return how many seconds the work takes."""
    start_s = time.perf_counter()
    work()
    return time.perf_counter() - start_s


def main() -> None:
    """Run the benchmark and print the table."""
    options = harness.parse_arguments(__doc__)
    rows = QUICK_ROWS if options.quick else ROWS
    report, catalogue = harness.Report(), load_shipped_catalogue()
    models = [model.id for model in catalogue.models if model.price][:12]

    def price_of(model: str) -> object:
        config = catalogue.get(model)
        return config.price if config else None

    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "ledger.db"
        asyncio.run(make_ledger(file))
        fill(file, rows, models)
        sum_up(file)
        reporter = Reporter(Store(file), price_of=price_of, baseline_model=models[0])  # type: ignore[arg-type]
        for by in GROUPINGS:
            times_s = [measure_wall_s(lambda by=by: reporter.report(by)) for _ in range(ROUNDS)]
            report.add(f"report by {by}, {rows:,} rows", "wall", "s", times_s)
        times_s = [
            measure_wall_s(lambda: to_html(reporter.report(with_days=True))) for _ in range(ROUNDS)
        ]
        report.add(f"HTML page, {rows:,} rows", "wall", "s", times_s)
    entry = an_entry()
    for tracker in (CostTracker(), UsageTracker()):
        record, times_us = tracker.record, list[float]()
        for _ in range(ROUNDS):
            times_us.append(harness.measure_cpu_us(lambda record=record: record(entry), 20_000))
        report.add(type(tracker).__name__, "CPU an entry", "µs", times_us)
    report.finish(options)


if __name__ == "__main__":
    main()
