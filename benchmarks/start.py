"""Measures how long the gateway takes to its first answer, and reports, over filled ledgers.

    uv run python benchmarks/start.py [--quick] [--json FILE]

Over an empty ledger, and over one with a million requests, half of them of the last day: first
after a clean stop, then after kill -9 while requests were open. Taken is the time from the start of
`devflow serve`, the installed command, to its first 200. The report is `devflow report`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import filled_ledger
import harness
import upstream
from gateways import (
    CORES,
    Gateway,
    Setup,
    devflow_start,
    find_devflow,
    routes_below,
    run_gateway,
)

REPORT = ("report", "--by", "model", "--format", "json")


def main() -> None:
    """Run the benchmark."""
    options = harness.parse_arguments(__doc__)
    report = harness.Report()
    rounds = 2 if options.quick else 5
    rows = filled_ledger.QUICK_ROWS if options.quick else filled_ledger.ROWS
    with upstream.run_upstream(CORES[-1]) as base_url:
        with filled_ledger.copy_ledger(0) as folder:
            _start(base_url, folder)  # the first start makes the tables
            times_s = [_start(base_url, folder) for _ in range(rounds)]
            report.add("empty ledger", "start", "s", times_s)
        with filled_ledger.copy_ledger(rows) as folder:
            measure_filled(report, base_url, folder, rounds)
    report.more["rows"] = rows
    report.finish(options)


def measure_filled(report: harness.Report, base_url: str, folder: Path, rounds: int) -> None:
    """Measure starts after clean stops and kills, and the report, over a filled ledger."""
    report.add("filled ledger, first start", "start", "s", [_start(base_url, folder)])
    clean_s, killed_s, reports_s = list[float](), list[float](), list[float]()
    for _ in range(rounds):
        clean_s.append(_start(base_url, folder))
        _start(base_url, folder, ends_with=signal.SIGKILL)
        killed_s.append(_start(base_url, folder))
        reports_s.append(_report(base_url, folder))
    report.add("filled ledger, clean stop", "start", "s", clean_s)
    report.add("filled ledger, kill -9", "start", "s", killed_s)
    report.add("filled ledger", "devflow report", "s", reports_s)


def _start(base_url: str, folder: Path, ends_with: signal.Signals = signal.SIGTERM) -> float:
    """Start and end a gateway; return the seconds to its first answer."""
    start = devflow_start(base_url, folder, Setup(rows=0, has_keys=False))
    with run_gateway("devflow", start, routes_below("/v1")) as gateway:
        _end(gateway, ends_with)
        return gateway.start_s


def _end(gateway: Gateway, ends_with: signal.Signals) -> None:
    assert gateway.process is not None
    gateway.process.send_signal(ends_with)
    gateway.process.wait(60)


def _report(base_url: str, folder: Path) -> float:
    """Return the seconds that a report takes, from the start of its command to its end."""
    start = devflow_start(base_url, folder, Setup(rows=0, has_keys=False))
    environment = {**os.environ, **start.environment}
    began_s = time.perf_counter()
    subprocess.run(
        [find_devflow(), *REPORT], env=environment, check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - began_s


if __name__ == "__main__":
    main()
