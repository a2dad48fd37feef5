"""Measures what the design itself asks of a gateway, in process, and names every goal.

    uv run python benchmarks/targets.py [--quick] [--json FILE]

`GOALS` is what docs/performance.md holds figures of all suites against. Those of the design that no
other suite measures are measured here: a choice, an update of costs, what a retry takes besides its
wait, and the memory that a gateway adds to Python's own.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import asks
import harness
import upstream
from devflow_analytics import CostTracker
from devflow_core.errors import DevFlowError
from devflow_core.request import ChatRequest
from devflow_core.settings import Settings
from devflow_core.testing import a_booked_request
from devflow_gateway import wiring
from devflow_openrouter import OpenRouterGateway
from devflow_openrouter.models.catalogue import load_shipped_catalogue
from devflow_routing import Router, TaskClassifier
from devflow_store import make_store
from peak import read_peak_mb

PROMPT_CHARS = 8_000
"""About 2,000 tokens."""
_UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n{}"
_GATEWAY_CALLS = 5
"""Calls that a gateway makes before another takes its place, whose breakers know of no failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What a figure is to be, and where it is found."""

    what: str
    limit: float
    unit: str
    """The unit in which the goal is said."""
    suite: str
    name: str
    metric: str
    scale: float = 1.0
    """Turns the suite's unit into the goal's."""
    over: str | None = None
    """The peer by whose figure of the same run it is divided; the limit is then a ratio."""
    asked_by: Literal["design", "goal"] = "goal"
    obstacle: str = "not looked into"
    """What stands in the way of it while it is missed; the page says it beside the figure."""


GOALS = (
    Goal(what="choosing a model, 2,000 tokens, p99", limit=50, unit="ms", suite="targets",
         name="choice", metric="p99", asked_by="design"),
    Goal(what="context of a 10 MB transcript, from the file", limit=100, unit="ms",
         suite="transcripts", name="context of 10 MB, short rows", metric="CPU, from the file",
         asked_by="design",
         obstacle="each line is decoded twice: for the index, and where it counts"),
    Goal(what="a cost update, durable, p99", limit=10, unit="ms", suite="targets",
         name="cost update, durable", metric="p99", asked_by="design",
         obstacle="waits for the disk"),
    Goal(what="a retry's own work, without its wait, p99", limit=500, unit="ms", suite="targets",
         name="own work of a retry", metric="p99", asked_by="design"),
    Goal(what="memory added to Python's own", limit=100, unit="MB", suite="targets",
         name="memory of a gateway", metric="added", asked_by="design"),
    Goal(what="added to a call under 64 streams, p99", limit=2, unit="s", suite="server",
         name="devflow", metric="paced, 64 streams: whole p99", scale=1e-6, asked_by="design"),
    Goal(what="server, named model, CPU a request", limit=98, unit="µs", suite="server",
         name="devflow", metric="whole/50: cpu",
         obstacle="values shared by all dialects; asked as a stream"),
    Goal(what="the same, over TensorZero's", limit=1.25, unit="times", suite="server",
         name="devflow", metric="whole/50: cpu", over="tensorzero",
         obstacle="the same"),
    Goal(what="server, `auto`, CPU a request", limit=160, unit="µs", suite="server",
         name="devflow", metric="auto/50: cpu",
         obstacle="the text is classified anew, and each of 400 models gets its own lengths"),
    Goal(what="stream of 50 at once, CPU", limit=600, unit="µs", suite="server",
         name="devflow", metric="stream of 50: cpu",
         obstacle="each event becomes a value and is written again"),
    Goal(what="a paced chunk, 32 streams, CPU", limit=38, unit="µs", suite="server",
         name="devflow", metric="paced chunk, 32 streams: cpu",
         obstacle="wake-ups of the event loop, not the parsing"),
    Goal(what="first event added at 8 streams, p50", limit=0.8, unit="ms", suite="server",
         name="devflow", metric="paced, 8 streams: first p50", scale=1e-3,
         obstacle="a queue behind the set-up of each stream; a synced write"),
    Goal(what="first event added at 8 streams, p99", limit=0.85, unit="ms", suite="server",
         name="devflow", metric="paced, 8 streams: first p99", scale=1e-3,
         obstacle="the same"),
    Goal(what="`/v1/messages`, CPU a request", limit=120, unit="µs", suite="server",
         name="devflow", metric="messages/50: cpu",
         obstacle="as of a request in the server"),
    Goal(what="agent's request of 100 kB, CPU", limit=0.6, unit="ms", suite="server",
         name="devflow", metric="agent, 100 kB: cpu", scale=1e-3,
         obstacle="an object for each message, a check of depth of its own"),
    Goal(what="agent's request of 1 MB, CPU", limit=3, unit="ms", suite="server",
         name="devflow", metric="agent, 1 MB: cpu", scale=1e-3,
         obstacle="the same"),
    Goal(what="in process, named, durable, CPU a request", limit=230, unit="µs",
         suite="pipeline", name="named/50 + ledger", metric="cpu_us",
         obstacle="two synced rows, and each event a value"),
    Goal(what="in process, `auto`, a new text, durable, CPU a request", limit=400, unit="µs",
         suite="pipeline", name="auto/50 + ledger", metric="cpu_us",
         obstacle="the choice, for each text anew"),
    Goal(what="start, empty ledger, to the first answer", limit=0.6, unit="s", suite="start",
         name="empty ledger", metric="start",
         obstacle="imports of Python, then one request to warm up"),
    Goal(what="start, a million requests, after a clean stop", limit=0.8, unit="s",
         suite="start", name="filled ledger, clean stop", metric="start",
         obstacle="imports of Python; the latest 2,000 requests are folded one by one"),
    Goal(what="start, a million requests, after kill -9", limit=0.8, unit="s", suite="start",
         name="filled ledger, kill -9", metric="start",
         obstacle="the same, and what was open is settled"),
    Goal(what="report over a million requests", limit=1, unit="s", suite="start",
         name="filled ledger", metric="devflow report",
         obstacle="a value for each group of model, session and error; histograms are unpacked"),
    Goal(what="the ledger, bytes a request", limit=700, unit="B", suite="ledger",
         name="filled ledger", metric="bytes a request",
         obstacle="two chained records with hash, key and time; a row in SQL, its indexes"),
)  # fmt: skip


def main() -> None:
    """Run the benchmark."""
    if "--peak" in sys.argv:
        asyncio.run(_print_peak())
        return
    options = harness.parse_arguments(__doc__)
    report = harness.Report()
    count = 200 if options.quick else 2_000
    _add(report, "choice", measure_choices(count), "ms")
    _add(report, "cost update, trackers", measure_tracking(count), "ms")
    _add(report, "cost update, durable", asyncio.run(measure_updates(count)), "ms")
    _add(report, "own work of a retry", asyncio.run(measure_retries(count // 20)), "ms")
    grown_mb = _peak_mb(__file__, "--peak") - _peak_mb(str(Path(__file__).with_name("peak.py")))
    report.add("memory of a gateway", "added", "MB", [grown_mb])
    report.finish(options)


def _add(report: harness.Report, name: str, values_s: Sequence[float], unit: str) -> None:
    for percent in (50, 99):
        report.add(name, f"p{percent}", unit, [harness.quantile(values_s, percent) * 1_000])


def measure_choices(count: int) -> list[float]:
    """Return the seconds of CPU of choices among all models, each for another text."""
    router, classifier = Router(load_shipped_catalogue()), TaskClassifier()
    prompts = asks.iter_prompts(0)
    times_s: list[float] = []
    for _ in range(count):
        text = ""
        while len(text) < PROMPT_CHARS:
            text += next(prompts)
        request = ChatRequest.from_text(text, model="auto")

        def choose(request: ChatRequest = request) -> object:
            return router.route(request, classifier.classify(request))

        times_s.append(_cpu_s(choose))
    return times_s


def _cpu_s(work: Callable[[], object]) -> float:
    start_ns = time.process_time_ns()
    work()
    return (time.process_time_ns() - start_ns) / 1e9


def measure_tracking(count: int) -> list[float]:
    """Return the seconds of CPU that the tracker of costs takes for an entry."""
    tracker = CostTracker()
    entries = [a_booked_request()[1] for _ in range(count)]
    return [_cpu_s(partial(tracker.record, entry)) for entry in entries]


async def measure_updates(count: int) -> list[float]:
    """Return the seconds until a request's cost is durable, one after the other."""
    times_s: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        async with make_store(_settings(Path(name) / "data", "http://127.0.0.1:1/v1")) as store:
            for _ in range(count):
                start, entry = a_booked_request()
                await store.begin(start)
                start_s = time.perf_counter()
                await store.close(entry)
                times_s.append(time.perf_counter() - start_s)
    return times_s


async def measure_retries(count: int) -> list[float]:
    """Return the seconds that an attempt takes whose retry does not wait, as an upper bound.

    The upstream refuses every attempt; the time of the whole call is divided by its attempts.
    """
    times_s: list[float] = []
    prompts = asks.iter_prompts(0)
    async with _refusing_upstream() as base_url:
        for _ in range(count):
            with tempfile.TemporaryDirectory() as name:
                settings = _settings(Path(name) / "data", base_url)
                async with wiring.open_gateway(settings) as gateway:
                    await _time_attempt(gateway, next(prompts))  # opens connections, fills tables
                    times_s += [
                        await _time_attempt(gateway, next(prompts)) for _ in range(_GATEWAY_CALLS)
                    ]
    return times_s


async def _time_attempt(gateway: OpenRouterGateway, text: str) -> float:
    start_s = time.perf_counter()
    try:
        await gateway.complete(ChatRequest.from_text(text))
    except DevFlowError as error:
        return (time.perf_counter() - start_s) / max(1, error.attempts)
    raise AssertionError("The upstream refuses everything.")


@asynccontextmanager
async def _refusing_upstream() -> AsyncGenerator[str]:
    """Serve 503 to everybody."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            size = head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0]
            await reader.readexactly(int(size or 0))
            writer.write(_UNAVAILABLE)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await refuse(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/v1"


def _settings(data_dir: Path, base_url: str) -> Settings:
    return Settings.load(
        {"OPENROUTER_API_KEY": "sk-or-v1-benchmark"},
        base_url=base_url,
        data_dir=data_dir,
        retry_wait_factor=0.0,
    )


def _peak_mb(*arguments: str) -> float:
    """Return what a process of its own prints, its peak memory in MB."""
    command = [sys.executable, *arguments]
    return float(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


async def _print_peak() -> None:
    """Make a thousand calls and print the peak memory in MB.

    What this module imports for its own sake counts as the gateway's.
    """
    prompts = asks.iter_prompts(0)
    with upstream.run_upstream() as base_url, tempfile.TemporaryDirectory() as name:
        async with wiring.open_gateway(_settings(Path(name) / "data", base_url)) as gateway:
            for _ in range(1_000):
                await gateway.complete(ChatRequest.from_text(next(prompts)))
    print(read_peak_mb())


if __name__ == "__main__":
    main()
