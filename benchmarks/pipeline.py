"""Measures one request through the whole pipeline, in process, against an instant upstream.

Everything is on: classification, the choice of model, the stack of policies, events, trackers that
know 50 models, and with `+ ledger` a durable SQLite ledger that holds a million requests. Every
request has another text. `named` asks for one model, `auto` leaves the choice to the router,
`context` injects a recorded session first; `/50` is the number of chunks in which the upstream
answers. `cpu_us` is CPU of this process for one request at 64 in flight; the upstream is another
process. `--profile` prints where the time goes.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import itertools
import pstats
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import asks
import filled_ledger
import harness
import upstream
from devflow_claude_code import ClaudeCodeSession
from devflow_core.request import ChatRequest
from devflow_core.settings import Settings
from devflow_gateway import wiring
from devflow_openrouter import OpenRouterGateway

MODEL = "anthropic/claude-haiku-4.5"
IN_FLIGHT = 64
SESSION = next((Path(__file__).parents[1] / "examples" / "sessions").glob("b0b4*.jsonl"))


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument("--profile", action="store_true", help="print the profile of auto + ledger")


def settings_for(base_url: str, data_dir: Path) -> Settings:
    """Return settings for the instant upstream."""
    return Settings.load(
        {"OPENROUTER_API_KEY": "sk-or-v1-benchmark"}, base_url=base_url, data_dir=data_dir
    )


def make_requests(model: str, chunks: int) -> Callable[[], ChatRequest]:
    """Return a function that makes requests, each with another text."""
    prompts = asks.iter_prompts(next(_starts))

    def make() -> ChatRequest:
        request = ChatRequest.from_text(next(prompts), model=model)
        return replace(request, extra={"user": f"bench/chunks-{chunks}"})

    return make


_starts = itertools.count(0, 10_000_000)
"""The first number of each variant's texts, so that no two share one."""


async def measure(args: argparse.Namespace, base_url: str, report: harness.Report) -> None:
    """Measure all variants in interleaved rounds."""
    rounds, count = (3, 300) if args.quick else (7, 2000)
    rows = filled_ledger.QUICK_ROWS if args.quick else filled_ledger.ROWS
    session = ClaudeCodeSession.open(SESSION)
    with filled_ledger.copy_ledger(rows) as folder:
        settings = settings_for(base_url, folder)
        async with AsyncExitStack() as stack:
            bare = await stack.enter_async_context(OpenRouterGateway(settings, ledger="memory"))
            booked = await stack.enter_async_context(wiring.open_gateway(settings))
            works: dict[str, Callable[[], Awaitable[object]]] = {"named/4": _work(bare, MODEL, 4)}
            for model, name in ((MODEL, "named"), ("auto", "auto")):
                for chunks in (4, 50, 500):
                    works[f"{name}/{chunks} + ledger"] = _work(booked, model, chunks)
            works["auto/4 + ledger + context"] = _work(booked, "auto", 4, session)
            values: dict[str, list[harness.Timing]] = {name: [] for name in works}
            for work in works.values():
                await harness.measure_round(work, 100, in_flight=IN_FLIGHT)
            for _ in range(rounds):
                for name, work in works.items():
                    values[name].append(
                        await harness.measure_round(work, count, in_flight=IN_FLIGHT)
                    )
            for name, timings in values.items():
                report.add(name, "cpu_us", "µs", [one.cpu_us for one in timings])
                report.add(name, "wall_us", "µs", [one.wall_us for one in timings])
            if args.profile:
                await profile(works["auto/4 + ledger"], count)


def _work(
    gateway: OpenRouterGateway,
    model: str,
    chunks: int,
    session: ClaudeCodeSession | None = None,
) -> Callable[[], Awaitable[object]]:
    make = make_requests(model, chunks)
    return lambda: gateway.complete(make(), session=session)


async def profile(work: Callable[[], Awaitable[object]], count: int) -> None:
    """Print the profile of one round."""
    with cProfile.Profile() as watched:
        await harness.measure_round(work, count, in_flight=IN_FLIGHT)
    pstats.Stats(watched).sort_stats("tottime").print_stats(45)


def main() -> None:
    """Run the benchmark."""
    args = harness.parse_arguments(__doc__, add_options)
    report = harness.Report()
    filled_ledger.make_ledger(filled_ledger.QUICK_ROWS if args.quick else filled_ledger.ROWS)
    with upstream.run_upstream() as base_url:
        asyncio.run(measure(args, base_url, report))
    report.finish(args)


if __name__ == "__main__":
    main()
