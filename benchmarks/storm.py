"""Measures how many requests are answered while models fail, and how soon all are again.

The gateway is a process of its own with everything on; its upstream is the sandbox, told by a fault
script to fail a share of the calls of each model, independently. Requests come at a fixed rate,
whatever becomes of those before, each for one model with its fallbacks. Writes its section of
docs/reliability.md, unless `--quick`.

    uv run python benchmarks/storm.py [--quick] [--json FILE]
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import harness
import httpx
import reliability_page
from devflow_sandbox import Sandbox

MODELS = ("openai/gpt-5-mini", "anthropic/claude-haiku-4.5", "google/gemini-2.5-flash")
START_S = 60.0
_SERVE = """
import sys
from devflow_core import log
from devflow_core.settings import Settings
from devflow_server import serve
base_url, key, port, folder, *models = sys.argv[1:]
log.configure("error", "json")
serve(Settings.load({}, None, base_url=base_url, api_key=key, port=int(port), require_key=False,
                    data_dir=folder, cache=False, fallbacks={models[0]: tuple(models[1:])}))
"""


@dataclass(kw_only=True)
class Storm:
    """A run with a constant rate of requests while models fail, and its outcomes."""

    name: str
    rate_per_s: float
    models: tuple[str, ...]
    failing: float
    """The share of each model's calls that are answered with 500."""
    bad_s: float
    good_s: float = 0.0
    """How long requests continue after the models have recovered, in seconds."""
    outcomes: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])
    """When each request was answered, and its status; 0 if the connection broke."""
    asked: Counter[str] = field(default_factory=Counter[str])
    """Calls of each model during the outage."""
    ended_s: float = 0.0
    """When the models recovered."""

    def bad(self) -> list[int]:
        """Return the statuses of the requests answered while the models failed."""
        return [status for at_s, status in self.outcomes if at_s < self.ended_s]

    def first_success_s(self) -> float | None:
        """Return the time from the end of the outage to the first 200."""
        good = [at_s for at_s, status in self.outcomes if status == 200 and at_s >= self.ended_s]
        return min(good) - self.ended_s if good else None

    def last_failure_s(self) -> float:
        """Return the time from the end of the outage to the last failure."""
        failed = [at_s for at_s, status in self.outcomes if status != 200]
        return max(0.0, max(failed, default=0.0) - self.ended_s)

    def row(self) -> list[str]:
        """Return the storm's row of the page."""
        bad = self.bad()
        count = len(bad) or 1
        first_s = self.first_success_s() if self.good_s else None
        return [
            self.name,
            f"{count / self.ended_s:.1f} of {self.rate_per_s:g}",
            str(len(bad)),
            f"{bad.count(200) / count:.3f}",
            f"{self.asked.total() / count:.2f}",
            f"{self.asked[self.models[0]] / count:.2f}",
            "" if first_s is None else f"{first_s:.1f} s",
            f"{self.last_failure_s():.1f} s" if self.good_s else "",
        ]


async def run_storm(storm: Storm) -> Storm:
    """Run a gateway with its sandbox and the requests; return the storm with its outcomes."""
    async with Sandbox() as sandbox, _gateway(sandbox, storm.models) as client:
        sandbox.set_faults(_faults(storm.failing))
        began_s = time.perf_counter()
        sending = asyncio.ensure_future(_send(storm, client, began_s))
        await asyncio.sleep(storm.bad_s)
        storm.ended_s = time.perf_counter() - began_s
        sandbox.set_faults(None)
        storm.asked = Counter(row["model"] for row in sandbox.bill()["calls"])
        await sending
    print(*storm.row(), sep=" | ", flush=True)
    return storm


async def _send(storm: Storm, client: httpx.AsyncClient, began_s: float) -> None:
    """Send every request at its time."""
    total = int(storm.rate_per_s * (storm.bad_s + storm.good_s))
    async with asyncio.TaskGroup() as group:
        for number in range(total):
            wait_s = began_s + number / storm.rate_per_s - time.perf_counter()
            await asyncio.sleep(max(0.0, wait_s))
            group.create_task(_ask(storm, client, began_s))


async def _ask(storm: Storm, client: httpx.AsyncClient, began_s: float) -> None:
    body = {"model": storm.models[0], "messages": [{"role": "user", "content": "Hi"}]}
    try:
        status = (await client.post("/v1/chat/completions", json=body)).status_code
    except httpx.TransportError as error:
        status = 0
        print(f"{storm.name}: no reply, {error!r}", flush=True)
    storm.outcomes.append((time.perf_counter() - began_s, status))


def _faults(share: float) -> dict[str, Any]:
    """Return one rule per model, so that failures are independent."""
    return {
        "faults": [
            {
                "when": {"path": "/chat/*", "model": model, "probability": share},
                "then": {"kind": "status", "status": 500},
            }
            for model in MODELS
        ]
    }


@asynccontextmanager
async def _gateway(sandbox: Sandbox, models: tuple[str, ...]) -> AsyncGenerator[httpx.AsyncClient]:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = int(bound.getsockname()[1])
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(  # noqa: ASYNC220 - a benchmark starts it once
            [sys.executable, "-c", _SERVE, sandbox.base_url, sandbox.api_key, str(port), folder,
             *models]
        )  # fmt: skip
        limits = httpx.Limits(max_connections=None)
        url = f"http://127.0.0.1:{port}"
        try:
            async with httpx.AsyncClient(
                base_url=url, timeout=120, trust_env=False, limits=limits
            ) as client:
                await _wait_ready(client)
                yield client
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait, 60)


async def _wait_ready(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(START_S):
        while True:
            try:
                if (await client.get("/readyz")).status_code == 200:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.05)


def storms(*, quick: bool) -> tuple[list[Storm], list[Storm]]:
    """Return the storms at 40 requests per second and those at 1, which run beside them."""
    scale = 0.2 if quick else 1.0
    brisk = [
        Storm(name="half of the calls fail, two fallbacks", rate_per_s=40, models=MODELS,
              failing=0.5, bad_s=60 * scale),
        Storm(name="half of the calls fail, no fallback", rate_per_s=40, models=MODELS[:1],
              failing=0.5, bad_s=60 * scale),
        Storm(name="all calls fail, then none, two fallbacks", rate_per_s=40, models=MODELS,
              failing=1.0, bad_s=40 * scale, good_s=12),
        Storm(name="all calls fail, then none, no fallback", rate_per_s=40, models=MODELS[:1],
              failing=1.0, bad_s=40 * scale, good_s=12),
    ]  # fmt: skip
    slow = [
        Storm(name="half of the calls fail, two fallbacks", rate_per_s=1, models=MODELS,
              failing=0.5, bad_s=120 * scale),
        Storm(name="all calls fail, then none, no fallback", rate_per_s=1, models=MODELS[:1],
              failing=1.0, bad_s=80 * scale, good_s=12),
    ]  # fmt: skip
    return brisk, slow


async def run_all(*, quick: bool) -> list[Storm]:
    """Run every storm."""
    brisk, slow = storms(quick=quick)

    async def in_turn(some: list[Storm]) -> list[Storm]:
        return [await run_storm(storm) for storm in some]

    done = await asyncio.gather(in_turn(brisk), in_turn(slow))
    return [storm for some in done for storm in some]


HEAD = ("what", "requests/s", "requests meanwhile", "answered", "calls per request",
        "of the first model", "first answer after", "last failure after")  # fmt: skip
REMARK = """\
Each model fails independently of the others. A request takes at most three calls, so with two
fallbacks 0.875 of the requests can be answered where half of the calls fail, and 0.85 takes 1.7
calls a request: with 1.1 calls a request in all no more than 0.55 can be. What is bounded is how
often one model is asked (of the requests that reach it 1.10 times, and 36 more in a minute, where
half or more fails), and all calls together in a total outage. "After" counts from the moment when
the models are well; at one request a second that holds the time until the next one is made. The
rate stands beside the one that was wanted: a busy machine makes fewer."""


def main() -> None:
    """Run the benchmark, print the results and write the page."""
    section = reliability_page.Section(name="storm", command="uv run python benchmarks/storm.py")
    options = harness.parse_arguments(__doc__)
    done = asyncio.run(run_all(quick=options.quick))
    report = harness.Report()
    for storm in done:
        name, bad = f"{storm.name}, {storm.rate_per_s:g}/s", storm.bad()
        report.add(name, "answered", "share", [bad.count(200) / len(bad)])
        report.add(name, "calls per request", "", [storm.asked.total() / len(bad)])
        if storm.good_s:
            report.add(name, "first answer after", "s", [storm.first_success_s() or -1.0])
            report.add(name, "last failure after", "s", [storm.last_failure_s()])
    page = f"{reliability_page.table(HEAD, [one.row() for one in done], 'lrrrrrrr')}\n\n{REMARK}"
    if not options.quick:
        section.write(page)
    report.finish(options)
    print(page)


if __name__ == "__main__":
    main()
