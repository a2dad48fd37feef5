"""Shared by all benchmarks: options, timing, and the form of results.

Rounds of the things compared are interleaved, so that a slow moment of the machine falls on all
of them alike; of the rounds the median is given, with the range beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import json
import os
import platform
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_PACKAGES = (
    "devflow-gateway-core", "orjson", "httpx", "tenacity", "aiolimiter", "pydantic", "openai",
    "openrouter", "litellm", "anthropic", "uvloop", "httptools", "apsw",
)  # fmt: skip


def parse_arguments(
    description: str | None, extend: Callable[[argparse.ArgumentParser], None] | None = None
) -> argparse.Namespace:
    """Parse `--quick`, `--json FILE` and the options that `extend` adds."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there")
    if extend is not None:
        extend(parser)
    return parser.parse_args()


@dataclass
class Report:
    """Collects results, prints them as a table, and writes them as JSON."""

    results: list[dict[str, object]] = field(default_factory=list[dict[str, object]])
    more: dict[str, object] = field(default_factory=dict[str, object])
    """Additional top-level keys of the JSON."""

    def add(self, name: str, metric: str, unit: str, values: Sequence[float]) -> float:
        """Add the values of all rounds; return their median."""
        median = statistics.median(values)
        self.results.append(
            {
                "name": name,
                "metric": metric,
                "unit": unit,
                "median": median,
                "min": min(values),
                "max": max(values),
                "rounds": len(values),
            }
        )
        return median

    def to_document(self) -> dict[str, object]:
        """Return the JSON document."""
        versions = {"python": platform.python_version()}
        for name in _PACKAGES:
            try:
                versions[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                continue
        return {
            "machine": describe_machine(),
            "versions": versions,
            "results": self.results,
            **self.more,
        }

    def finish(self, options: argparse.Namespace) -> None:
        """Print the table; with `--json`, also write the document."""
        print(f"{'name':34} {'metric':22} {'median':>12} {'min':>12} {'max':>12}  unit")
        for one in self.results:
            figures = "".join(
                f" {_format_figure(one[key]):>12}" for key in ("median", "min", "max")
            )
            print(f"{one['name']!s:34} {one['metric']!s:22}{figures}  {one['unit']}")
        if options.json is not None:
            options.json.write_text(json.dumps(self.to_document(), indent=1) + "\n")


def _format_figure(value: object) -> str:
    assert isinstance(value, int | float)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def describe_machine() -> Mapping[str, object]:
    """Return the machine's system, processor and number of cores."""
    return {
        "system": platform.system(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
    }


def measure_cpu_us(work: Callable[[], object], count: int) -> float:
    """Return the CPU time of one call in µs, averaged over `count` calls."""
    start_ns = time.process_time_ns()
    for _ in range(count):
        work()
    return (time.process_time_ns() - start_ns) / 1000 / count


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The times of one round of calls."""

    cpu_us: float
    """CPU time of this process per call."""
    wall_us: float
    """Wall time per call: that of the round, divided by the calls."""

    @property
    def per_s(self) -> float:
        """The calls per second."""
        return 1e6 / self.wall_us


async def measure_round(
    work: Callable[[], Awaitable[object]], count: int, *, in_flight: int = 1
) -> Timing:
    """Measure `count` calls, `in_flight` at a time."""
    left = count

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await work()

    wall_ns, cpu_ns = time.perf_counter_ns(), time.process_time_ns()
    await asyncio.gather(*(worker() for _ in range(in_flight)))
    cpu_ns, wall_ns = time.process_time_ns() - cpu_ns, time.perf_counter_ns() - wall_ns
    return Timing(cpu_us=cpu_ns / 1000 / count, wall_us=wall_ns / 1000 / count)


def quantile(values: Sequence[float], percent: int) -> float:
    """Return the value below which so many percent of the values lie."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
