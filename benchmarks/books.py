"""Checks that our books agree with the bill, over calls with faults, cancels, retries and kills.

A stand-in for OpenRouter answers and keeps its own books; about 15 % of its answers are faulty, and
a third of the calls are billed for more than tokens (see `book_calls.py`).
Worker processes ask it through the whole gateway into one durable ledger, leave some streams
before their end, and are killed without warning; the next one goes on where they stopped. Then
the ledger is reconciled over the provider's ordinary endpoints, and only then compared with what
the stand-in says it billed, to the last digit.

    uv run python benchmarks/books.py [--calls 50000] [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import book_calls
import harness
from devflow_analytics import Reconciler, Reconciliation
from devflow_core.errors import DevFlowError
from devflow_core.ledger import Attempt, LedgerEntry
from devflow_core.settings import Settings
from devflow_openrouter import OpenRouterGateway
from devflow_openrouter.account import OpenRouterAccount
from devflow_sandbox import Setup
from devflow_sandbox.threaded import ThreadedSandbox
from devflow_store import Budget, BudgetState, Store

CALLS, QUICK_CALLS = 50_000, 1_500
IN_FLIGHT = 32
LEASE_S = 1.0
PATIENCE_S = 3.0
LEDGER = "ledger.db"


# a worker: a gateway that may die at any moment


async def run_worker(settings: Settings, first: int, count: int) -> None:
    """Make `count` calls, the choices of each derived from its number."""
    numbers = iter(range(first, first + count))
    async with (
        Store(settings.data_dir / LEDGER, lease_s=LEASE_S) as book,
        OpenRouterGateway(settings, book=book) as gateway,
    ):

        async def one_after_another() -> None:
            for number in numbers:
                with contextlib.suppress(DevFlowError):
                    await make_call(gateway, number)
                print(number, flush=True)

        await asyncio.gather(*(one_after_another() for _ in range(IN_FLIGHT)))


async def make_call(gateway: OpenRouterGateway, number: int) -> None:
    """Make a call: streamed to its end, streamed and left, or read whole."""
    call = book_calls.make_call(number)
    if call.is_whole:
        await gateway.complete(call.request)
        return
    async with gateway.stream(call.request) as reply:
        async for _ in reply:
            if call.leaves:
                return


async def set_budget(settings: Settings) -> None:
    """Set the budget of the metered project."""
    async with Store(settings.data_dir / LEDGER, lease_s=LEASE_S) as book:
        await book.budgets.set(
            Budget(
                scope="project",
                value=book_calls.METERED_PROJECT,
                window="lifetime",
                limit_usd=book_calls.METERED_LIMIT_USD,
                thresholds=(),
            )
        )


def settings_for(base_url: str, api_key: str, data_dir: Path) -> Settings:
    """Return the settings of a gateway to the stand-in, with one fallback model."""
    return Settings.load(
        {},
        base_url=base_url,
        api_key=api_key,
        data_dir=data_dir,
        fallback_models=("openai/gpt-4o-mini",),
        idle_timeout_s=5.0,
    )


# the driver: starts workers and kills them


def run_workers(
    base_url: str, api_key: str, folder: Path, *, calls: int, kills: int
) -> tuple[int, int]:
    """Make all calls in workers; return the number of calls seen to end and of workers killed."""
    first, killed, ended = 0, 0, 0
    chance = random.Random(calls)  # noqa: S311 - when to kill
    while first < calls:
        # of what is left, so that all kills come before the calls have run out
        share = max(1, 2 * (calls - first) // (kills - killed + 2))
        stop_at = calls if killed >= kills else first + chance.randint(1, share)
        arguments = [base_url, api_key, str(folder), str(first), str(calls - first)]
        with subprocess.Popen(
            [sys.executable, __file__, "--worker", *arguments], stdout=subprocess.PIPE, text=True
        ) as worker:
            assert worker.stdout is not None
            furthest = first - 1
            for line in filter(_is_number, worker.stdout):
                furthest, ended = max(furthest, int(line)), ended + 1
                if furthest + 1 >= stop_at and stop_at < calls:
                    worker.send_signal(signal.SIGKILL)
                    killed += 1
                    break
            worker.stdout.close()
            status = worker.wait()
        if status not in (0, -signal.SIGKILL):
            raise SystemExit(f"a worker ended with {status}")
        # calls in flight at the kill are not asked again: their fate is what is tested
        first = calls if status == 0 else furthest + 1 + IN_FLIGHT
    return ended, killed


def _is_number(line: str) -> bool:
    """Return whether a line is a call's number: budget alerts are on the same pipe."""
    return line.strip().isdigit()


async def reconcile(settings: Settings, management_key: str) -> tuple[Reconciliation, int]:
    """Reconcile as `devflow ledger reconcile` does; also return how many rows were open before."""
    async with (
        Store(settings.data_dir / LEDGER, lease_s=LEASE_S) as book,
        OpenRouterGateway(settings, book=book) as gateway,
    ):
        await asyncio.sleep(LEASE_S * 2)  # until the killed workers' calls are written off
        opened = len(book.unconfirmed(1_000_000))
        account = OpenRouterAccount(
            gateway.api, settings.server_keys(), management_key=management_key
        )
        return await Reconciler(book, account, patience_s=PATIENCE_S).reconcile(days=1), opened


def compare(
    entries: Sequence[LedgerEntry], bill: dict[str, Any], result: Reconciliation
) -> dict[str, object]:
    """Compare our ledger with the stand-in's bill: the totals, and every call by its id."""
    attempts = [attempt for entry in entries for attempt in entry.attempts]
    ours_usd = sum((attempt.cost_usd for attempt in attempts), Decimal(0))
    ids = [attempt.generation_id for attempt in attempts if attempt.generation_id]
    costs = {call["generation_id"]: Decimal(call["cost_usd"]) for call in bill["calls"]}
    unheard = {one for one in costs if one and costs[one]} - set(ids)
    document = result.as_json()
    settled = {one: usd for closing in result.settlements for one, usd in closing.settled.items()}
    lost = sum(a.attempt_id in settled and not a.generation_id for a in attempts)
    return {
        "requests": len(entries),
        "attempts": len(attempts),
        "billed_calls": sum(cost > 0 for cost in costs.values()),
        "ours_usd": str(ours_usd),
        "bill_usd": bill["total_usd"],
        "difference_usd": str(ours_usd - Decimal(bill["total_usd"])),
        "wrong_by_id": sum(
            attempt.generation_id in costs and costs[attempt.generation_id] != attempt.cost_usd
            for attempt in attempts
            if attempt.attempt_id not in settled
        ),
        "twice": len(ids) - len(set(ids)),
        "confirmed_by_id": document["confirmed"],
        "settled_by_total": document["settled_by_total"],
        "billed_unheard": len(unheard),
        "billed_unexplained": max(0, len(unheard) - lost),
        "over_reserved": _count(_over_reserved(attempts, costs)),
        "billed_unheard_usd": str(sum((costs[one] for one in unheard), Decimal(0))),
        "settled_by_total_usd": str(sum(settled.values(), Decimal(0))),
        "orphans": document["orphans"],
        "ghosts": len(document["ghosts"]),
        "pending": document["pending"],
        "outcomes": _count(entry.outcome for entry in entries),
        "errors": _count(entry.error_code for entry in entries if entry.error_code),
        "faults": _count(call["fault"] for call in bill["calls"] if call["fault"]),
        "bill_outcomes": _count(call["outcome"] for call in bill["calls"]),
        "dialects": _count(call["path"] for call in bill["calls"] if Decimal(call["cost_usd"])),
        "features": {
            one.name: sum(one.is_seen(call) for call in bill["calls"])
            for one in book_calls.FEATURES
        },
    }


def _over_reserved(attempts: Iterable[Attempt], costs: Mapping[str, Decimal]) -> Iterator[str]:
    """Yield the models of calls that were billed more than was reserved for them."""
    for attempt in attempts:
        billed_usd = costs.get(attempt.generation_id or "", attempt.cost_usd)
        if attempt.reserved_usd is not None and billed_usd > attempt.reserved_usd:
            yield attempt.model


def judge_budget(state: BudgetState, entries: Sequence[LedgerEntry]) -> dict[str, object]:
    """Compare the metered project's budget with its rows and with its limit."""
    spent_usd = sum(
        (one.cost_usd for one in entries if one.attribution.project == state.budget.value),
        Decimal(0),
    )
    return {
        "budget_refused": sum(one.error_code == "budget_exceeded" for one in entries),
        "budget_spent_usd": str(spent_usd),
        "budget_wrong_usd": str(state.spent_usd - spent_usd),
        "budget_held_usd": str(state.reserved_usd),
        "budget_over_usd": str(max(Decimal(0), spent_usd - state.budget.limit_usd)),
    }


def _count(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def run(calls: int, kills: int) -> dict[str, Any]:
    """Run the whole benchmark in a temporary folder."""
    setup = Setup(seed=7, credits_usd=Decimal(1_000_000), generation_delay_s=0.2)
    with (
        tempfile.TemporaryDirectory() as name,
        ThreadedSandbox(setup, faults=book_calls.fault_script()) as sandbox,
    ):
        folder, started_s = Path(name), time.monotonic()
        settings = settings_for(sandbox.base_url, sandbox.api_key, folder)
        asyncio.run(set_budget(settings))
        ended, killed = run_workers(
            sandbox.base_url, sandbox.api_key, folder, calls=calls, kills=kills
        )
        while sandbox.bill()["running"]:
            time.sleep(0.05)
        result, opened = asyncio.run(reconcile(settings, sandbox.management_key))
        store = Store(folder / LEDGER)
        entries = list(store.entries())
        verdict = compare(entries, sandbox.bill(), result)
        (state,) = store.budget_states()
        verdict |= judge_budget(state, entries)
        verified = store.verify()
    return {
        "killed": killed,
        "ended_without_entry": max(0, ended - len(entries)),
        "open_before": opened,
        "chain_ok": verified.ok,
        "seconds": round(time.monotonic() - started_s, 1),
        **verdict,
    }


def main() -> int:
    """Run the benchmark, or one of its workers."""
    if sys.argv[1:2] == ["--worker"]:
        base_url, api_key, folder, first, count = sys.argv[2:]
        settings = settings_for(base_url, api_key, Path(folder))
        asyncio.run(run_worker(settings, int(first), int(count)))
        return 0

    def extend(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--calls", type=int, help=f"{CALLS:,}; {QUICK_CALLS:,} with --quick")
        parser.add_argument("--kills", type=int, help="workers to kill")

    options = harness.parse_arguments(__doc__, extend)
    calls = options.calls or (QUICK_CALLS if options.quick else CALLS)
    verdict = run(calls, options.kills if options.kills is not None else max(2, calls // 2_500))
    report = harness.Report(more={"books": verdict})
    for key, value in verdict.items():
        print(f"{key:22} {value}")
    difference_usd = float(Decimal(str(verdict["difference_usd"])))
    report.add("books", "difference", "USD", [difference_usd])
    report.add("books", "attempts", "calls", [float(str(verdict["attempts"]))])
    report.finish(options)
    wrong = [
        key
        for key in (
            "ended_without_entry",
            "wrong_by_id",
            "twice",
            "billed_unexplained",
            "orphans",
            "pending",
            "over_reserved",
        )
        if verdict[key]
    ]
    budget = ("budget_wrong_usd", "budget_held_usd", "budget_over_usd")
    wrong += [key for key in budget if Decimal(str(verdict[key]))]
    wrong += [name for name, seen in verdict["features"].items() if not seen]
    return 1 if wrong or difference_usd or not verdict["chain_ok"] else 0


if __name__ == "__main__":
    sys.exit(main())
