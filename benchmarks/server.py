"""Measures the HTTP gateway on one core as life is, beside its peers where they are installed.

Gateway on one core; load and upstream, both in C, on the other; rounds of all gateways interleaved.
Ours has everything on: client keys, a budget, routing over the catalogue, a durable ledger that
holds a million requests, trackers that know 50 models. Every request has another text. Peers are
taken where they are installed under `.peers/` (`--install` puts them there).

    cpu         the gateway's own CPU a request or chunk, its children and threads included
    rate        requests a second
    first, whole    what a gateway adds to the first byte of a body, and to its end, over the median
                of the upstream asked directly in the same round
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import filled_ledger
import harness
import peer_install
import upstream
from asks import CHAT
from gateways import CORES, Absent, Gateway, Setup, devflow, direct_gateway, pin
from load import BadStatus, Load, Times
from peers import MAKERS, start_peers
from scenes import DEVFLOW, SCENES, TWO_WORKERS, WITHOUT_LEDGER, Scene

MIN_BURST = 500
MEMORY_SCENE = Scene(name="memory", shape="chunks-50", connections=32, count=20_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round of a scene took."""

    times: Times
    wall_s: float
    cpu_s: float


def main() -> None:
    """Run the benchmark and print its report."""
    options = harness.parse_arguments(__doc__, _add_options)
    absent = peer_install.install() if options.install else dict[str, str]()
    report = harness.Report()
    rows = filled_ledger.QUICK_ROWS if options.quick else filled_ledger.ROWS
    filled_ledger.make_ledger(rows)
    with contextlib.ExitStack() as stack:
        base_url = stack.enter_context(upstream.run_upstream(CORES[-1]))
        started = [
            *_start_ours(stack, base_url, rows, absent),
            *start_peers(stack, base_url, options.only, absent),
        ]
        pin(os.getpid(), CORES[-1])
        direct = direct_gateway(base_url)
        comparison = Comparison(report, started, direct, absent, quick=options.quick)
        asyncio.run(comparison.measure())
    report.more["absent"] = absent
    report.more["rows"] = rows
    report.finish(options)
    for name, reason in absent.items():
        print(f"left out: {name}: {reason}")


def _start_ours(
    stack: contextlib.ExitStack, base_url: str, rows: int, absent: dict[str, str]
) -> list[Gateway]:
    setups = {
        DEVFLOW: Setup(rows=rows),
        WITHOUT_LEDGER: Setup(rows=0, has_keys=False),
        TWO_WORKERS: Setup(rows=rows, workers=2),
    }
    started: list[Gateway] = []
    for name, setup in setups.items():
        try:
            started.append(stack.enter_context(devflow(base_url, setup, name)))
        except Absent as reason:
            absent[name] = str(reason)
    return started


class Comparison:
    """Interleaved rounds over gateways.

    Args:
        report: takes the figures.
        gateways: those compared.
        direct: the upstream, whose times are subtracted.
        absent: takes what a gateway does not answer, with the reason.
        quick: a tenth of the work.
    """

    def __init__(
        self,
        report: harness.Report,
        gateways: Sequence[Gateway],
        direct: Gateway,
        absent: dict[str, str],
        *,
        quick: bool,
    ) -> None:
        self._report = report
        self._gateways = gateways
        self._direct = direct
        self._absent = absent
        self._rounds, self._share = (2, 0.1) if quick else (5, 1.0)

    async def measure(self) -> None:
        """Measure every scene, then how memory grows."""
        for gateway in self._gateways:
            self._report.add(gateway.name, "start", "s", [gateway.start_s])
            self._report.add(gateway.name, "memory, idle", "MB", [gateway.memory_mb()])
        for scene in SCENES:
            began_s = time.perf_counter()
            await self._measure_scene(scene)
            print(f"{scene.name}: {time.perf_counter() - began_s:.0f} s", flush=True)
        for gateway in self._gateways:
            await self._measure_memory(gateway)

    async def _measure_scene(self, scene: Scene) -> None:
        asked = [one for one in self._gateways if scene.takes(one)]
        able = [one for one in asked if await self._can(scene, one)]
        figures: dict[tuple[str, str, str], list[float]] = {}
        # bursts of streams take long, and each is thousands of samples
        for _ in range(min(self._rounds, 2) if scene.connections >= MIN_BURST else self._rounds):
            direct = await self._run(scene, self._direct)
            for gateway in able:
                one = await self._run(scene, gateway)
                for metric, unit, value in _list_figures(scene, one, direct):
                    figures.setdefault((gateway.name, metric, unit), []).append(value)
        for (name, metric, unit), values in figures.items():
            self._report.add(name, f"{scene.name}: {metric}", unit, values)

    async def _can(self, scene: Scene, gateway: Gateway) -> bool:
        try:
            async with Load(gateway.port, scene.requests(gateway), 1) as load:
                await load.run(1)
        except BadStatus as error:
            self._absent[f"{gateway.name} in '{scene.name}'"] = str(error).splitlines()[0]
            return False
        return True

    async def _run(self, scene: Scene, gateway: Gateway) -> Round:
        """Run one round after a warm-up of one request a connection."""
        async with Load(gateway.port, scene.requests(gateway), scene.connections) as load:
            await load.run(scene.connections)
            cpu_s, began_s = gateway.cpu_s(), time.perf_counter()
            times = await load.run(scene.scale(gateway, self._share))
            wall_s = time.perf_counter() - began_s
            return Round(times=times, wall_s=wall_s, cpu_s=gateway.cpu_s() - cpu_s)

    async def _measure_memory(self, gateway: Gateway) -> None:
        if CHAT not in gateway.routes:
            return
        before_mb = gateway.memory_mb()
        count = MEMORY_SCENE.scale(gateway, self._share)
        requests = MEMORY_SCENE.requests(gateway)
        async with Load(gateway.port, requests, MEMORY_SCENE.connections) as load:
            await load.run(count)
        after_mb = gateway.memory_mb()
        self._report.add(gateway.name, "memory, after all", "MB", [after_mb])
        grown_mb = (after_mb - before_mb) * 1_000 / count
        self._report.add(gateway.name, "memory, grown by 1,000 requests", "MB", [grown_mb])


def _list_figures(scene: Scene, one: Round, direct: Round) -> list[tuple[str, str, float]]:
    """Return the name, unit and value of each figure of a round."""
    count = len(one.times.first_s)
    figures = [
        ("cpu", "µs", one.cpu_s * 1e6 / count / scene.chunks),
        ("rate", "1/s", count / one.wall_s),
    ]
    for name, values, base in (
        ("first", one.times.first_s, direct.times.first_s),
        ("whole", one.times.whole_s, direct.times.whole_s),
    ):
        middle_s = statistics.median(base)
        figures += [
            (f"{name} p{share}", "µs", (harness.quantile(values, share) - middle_s) * 1e6)
            for share in (50, 99)
        ]
    return figures


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="*", choices=MAKERS, default=MAKERS, help="these peers")
    parser.add_argument("--install", action="store_true", help="fetch the peers first")


if __name__ == "__main__":
    main()
