"""Compares what is booked for calls with unconfirmed costs with what they were billed.

The shipped gateway serves over a socket, in front of a stand-in for OpenRouter that keeps its own
books. Each call meets one fault that leaves its cost unclear: cut, stalled, left by its reader,
without usage, cost, id or choices, with an impossible cost, with an error inside, billed by its
provider's own rule, in full, for fees alone or not at all; streamed and whole, in three dialects.
What is booked is compared with the bill before the ledger is reconciled and after it.

    uv run python benchmarks/faulted_costs.py [--calls N] [--quick] [--json FILE] [--page]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import logging
import sys
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import harness
import httpx
import orjson
import reliability_page
import structlog
from devflow_analytics import Reconciler, Reconciliation
from devflow_core.ledger import LedgerEntry
from devflow_core.settings import Settings
from devflow_gateway import wiring
from devflow_openrouter import OpenRouterGateway
from devflow_openrouter.account import OpenRouterAccount
from devflow_sandbox import Setup
from devflow_sandbox.books.billing_book import BilledCall
from devflow_sandbox.threaded import ThreadedSandbox
from devflow_server.serving import run_gateway
from devflow_store import Store

COMMAND = "uv run python benchmarks/faulted_costs.py --page"
CALLS, QUICK_CALLS = 600, 240
PATIENCE_S = 2.0
DEADLINE_S = 60.0
STOPPING = ("openai/gpt-5-mini", "anthropic/claude-haiku-4.5", "deepseek/deepseek-v3.2")
"""Models whose first provider stops charging when the reader leaves."""
CHARGING_ON = ("google/gemini-2.5-flash", "mistralai/mistral-large-2512", "z-ai/glm-5")
PATHS = {
    "chat": "/v1/chat/completions",
    "messages": "/v1/messages",
    "responses": "/v1/responses",
}
QUESTION = "Explain in some detail how a write-ahead log makes a commit durable. " * 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A way in which a cost stays unclear."""

    name: str
    then: dict[str, Any] | None = None
    billed: str = "provider"
    """What the stand-in bills: by its provider's rule, `full`, `fees` alone, or `none`."""
    leaves_after: int | None = None
    """The number of text pieces after which the reader leaves."""
    tools: bool = False


def _cuts() -> Iterator[Kind]:
    for share in (0.0, 0.1, 0.3, 0.5, 0.7, 0.9):
        yield Kind(name="cut", then={"kind": "drop", "at": {"share": share}})
        yield Kind(name="cut", then={"kind": "truncate", "at": {"share": share}})
    for framing in ("close", "length"):
        then = {"kind": "truncate", "at": {"share": 0.6}, "framing": framing}
        yield Kind(name="cut", then=then)
    for billed in ("full", "fees", "none"):
        then = {"kind": "drop", "at": {"share": 0.5}}
        yield Kind(name=f"cut, billed {billed}", then=then, billed=billed)
    yield Kind(name="cut in a tool call", then={"kind": "drop", "at": {"share": 0.8}}, tools=True)


def _told() -> Iterator[Kind]:
    for parts in (["usage"], ["cost"], ["usage", "generation_id"], ["finish"], ["done"]):
        yield Kind(name=f"without {' and '.join(parts)}", then={"kind": "omit", "parts": parts})
    for name, values in {
        "told 0": {"cost": "0"},
        "told far above": {"cost": "0.5"},
        "told NaN": {"cost": "NaN"},
        "told below 0": {"cost": "-5"},
        "told 1e308": {"cost": "1e308"},
        "counts below 0": {"prompt_tokens": "-5", "input_tokens": "-5"},
    }.items():
        yield Kind(name=name, then={"kind": "usage", "values": values})
    yield Kind(
        name="told 0, billed 0", then={"kind": "usage", "values": {"cost": "0"}}, billed="none"
    )
    for form in ("finish", "each"):
        yield Kind(name=f"usage early ({form})", then={"kind": "early_usage", "form": form})


def _instead() -> Iterator[Kind]:
    for preset in ("choices_null", "choices_empty", "malformed", "html", "empty"):
        yield Kind(name=f"body: {preset}", then={"kind": "body", "preset": preset})
    for share in (0.0, 0.5, 0.9):
        yield Kind(name="error inside", then={"kind": "error_event", "at": {"share": share}})
    yield Kind(name="dropped before the head", then={"kind": "drop"})
    yield Kind(name="dropped before the head, billed", then={"kind": "drop"}, billed="full")
    yield Kind(name="no head in time", then={"kind": "slow", "head_s": 30.0})
    yield Kind(name="silent", then={"kind": "stall", "at": {"share": 0.5}})
    yield Kind(name="silent before content", then={"kind": "stall", "at": {"event": 0}})
    yield Kind(name="a connection that was closed", then={"kind": "stale"})
    yield Kind(name="refused by a provider", then={"kind": "status", "status": 502})
    for after in (1, 3, 5, 20, 60):
        then = {"kind": "slow", "gap_s": 0.004}
        yield Kind(name="left by its reader", then=then, leaves_after=after)


KINDS = (*_cuts(), *_told(), *_instead())


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A request with what was booked and billed for it."""

    kind: str
    dialect: str
    is_stream: bool
    entry: LedgerEntry
    billed_usd: Decimal
    known_usd: Decimal
    """The part of the bill that the gateway could know: the input and the text received, or all of
    it if the cost was reported."""

    @property
    def booked_usd(self) -> Decimal:
        """The amount that was booked before reconciling."""
        return self.entry.cost_usd

    @property
    def reserved_usd(self) -> Decimal:
        """The amount that was reserved for the request."""
        held = (one.reserved_usd or Decimal(0) for one in self.entry.attempts)
        return sum(held, Decimal(0))


@dataclass
class World:
    """A gateway behind a socket, the stand-in behind it, and the ledger."""

    sandbox: ThreadedSandbox
    settings: Settings
    client: httpx.AsyncClient
    store: Store
    seen: set[str] = field(default_factory=set[str])

    @property
    def calls(self) -> list[BilledCall]:
        """Every call that reached the stand-in."""
        return self.sandbox.state.billing.calls

    async def judge(self, number: int, kind: Kind) -> Judged:
        """Make one call under its fault."""
        dialect = tuple(PATHS)[number % 3]
        is_stream = kind.leaves_after is not None or number // 3 % 2 == 0
        models = STOPPING if number // 6 % 2 == 0 else CHARGING_ON
        model = models[number // 12 % len(models)]
        before = len(self.calls)
        when = {"method": "POST", "times": 1} if kind.name.startswith("a conn") else {}
        rules = [{"when": when, "then": kind.then, "billed": kind.billed}] if kind.then else []
        self.sandbox.set_faults({"faults": rules})
        text = await self._ask(dialect, _make_body(dialect, model, is_stream, kind), kind)
        if kind.name.startswith("a conn"):  # the next call is the one that meets it
            text = await self._ask(dialect, _make_body(dialect, model, is_stream, kind), kind)
        entry = await self._entry()
        calls = await self._ended_calls(before, entry)
        known = (_known_usd(one, text if one is calls[-1] else "", kind) for one in calls)
        return Judged(
            kind=kind.name,
            dialect=dialect,
            is_stream=is_stream,
            entry=entry,
            billed_usd=sum((one.cost_usd for one in calls), Decimal(0)),
            known_usd=sum(known, Decimal(0)),
        )

    async def _ask(self, dialect: str, body: dict[str, Any], kind: Kind) -> str:
        """Send a request and return the text received."""
        pieces: list[str] = []
        with contextlib.suppress(httpx.HTTPError):
            async with self.client.stream("POST", PATHS[dialect], json=body) as reply:
                async for line in reply.aiter_lines():
                    pieces += _texts(line)
                    if kind.leaves_after is not None and len(pieces) >= kind.leaves_after:
                        break
        return "".join(pieces)

    async def _entry(self) -> LedgerEntry:
        """Return the new entry; of two calls the later one."""
        async for found in self._poll():
            if found:
                self.seen.update(one.entry_id for one in found)
                return found[-1]
        raise TimeoutError("no entry was written")

    async def _poll(self) -> AsyncIterator[list[LedgerEntry]]:
        async with asyncio.timeout(DEADLINE_S):
            while True:
                entries = await asyncio.to_thread(lambda: list(self.store.entries()))
                yield [one for one in entries if one.entry_id not in self.seen]
                await asyncio.sleep(0.01)

    async def _ended_calls(self, before: int, entry: LedgerEntry) -> list[BilledCall]:
        async for _ in self._poll():
            if all(one.outcome != "running" for one in self.calls[before:]):
                break
        calls = self.calls[before:]
        return calls[-len(entry.attempts) :] if entry.attempts else []


def _make_body(dialect: str, model: str, is_stream: bool, kind: Kind) -> dict[str, Any]:
    body: dict[str, Any] = {"model": model, "stream": is_stream}
    if dialect == "responses":
        return body | {"input": QUESTION, "max_output_tokens": 2_000}
    turns = [{"role": "user", "content": QUESTION}]
    body |= {"messages": turns, "max_tokens": 2_000}
    schema = {"type": "object", "properties": {"path": {"type": "string"}}}
    if kind.tools and dialect == "chat":
        function = {"name": "read_file", "description": "Reads.", "parameters": schema}
        body["tools"] = [{"type": "function", "function": function}]
    return body


def _texts(line: str) -> Iterator[str]:
    """Yield the pieces of answer in one line of a stream of any dialect."""
    if not line.startswith("data: {"):
        return
    try:
        event: dict[str, Any] = orjson.loads(line[6:])
    except orjson.JSONDecodeError:  # passed on as it was told: NaN is no JSON
        return
    choices: list[dict[str, Any]] = event.get("choices") or []
    deltas: list[dict[str, Any]] = [one.get("delta") or {} for one in choices]
    yield from (one["content"] for one in deltas if one.get("content"))
    delta: Any = event.get("delta")
    if event.get("type") == "content_block_delta":
        yield delta.get("text") or ""
    elif event.get("type") == "response.output_text.delta":
        yield delta


def _known_usd(call: BilledCall, text: str, kind: Kind) -> Decimal:
    """Return the part of a call's bill that the gateway has evidence of."""
    generation = call.generation
    if generation is None or kind.name.startswith(("body: mal", "body: html", "body: empty")):
        return Decimal(0)
    if kind.name.startswith(("body: choices", "without done")):
        return call.cost_usd  # it was told
    completion = min(generation.tokens.completion, len(text) // 4)
    tokens = replace(generation.tokens, completion=completion, reasoning=0)
    return min(call.cost_usd, generation.price(tokens).total)


# the whole


async def run(calls: int) -> tuple[list[Judged], list[LedgerEntry], Reconciliation, Decimal]:
    """Make all calls and reconcile; return them with the final entries and the bill."""
    setup = Setup(seed=11, credits_usd=Decimal(1_000_000), generation_delay_s=0.05)
    with (
        tempfile.TemporaryDirectory() as name,
        ThreadedSandbox(setup) as sandbox,
    ):
        settings = Settings.load(
            {},
            base_url=sandbox.base_url,
            api_key=sandbox.api_key,
            data_dir=Path(name),
            require_key=False,
            port=0,
            cache=False,
            max_retries=1,
            retry_wait_factor=0.0,
            first_token_timeout_s=0.7,
            idle_timeout_s=0.7,
        )
        judged = await _judge_all(sandbox, settings, calls)
        sandbox.set_faults({"faults": []})
        result = await _reconcile(settings, sandbox.management_key)
        entries = list(wiring.make_store(settings).entries())
        return judged, entries, result, Decimal(sandbox.bill()["total_usd"])


async def _judge_all(sandbox: ThreadedSandbox, settings: Settings, calls: int) -> list[Judged]:
    judged: list[Judged] = []
    numbers = iter(range(calls))
    while batch := list(itertools.islice(numbers, 30)):  # faults open circuits; a new one has none
        async with (
            run_gateway(settings) as running,
            httpx.AsyncClient(base_url=running.url, timeout=DEADLINE_S, trust_env=False) as client,
        ):
            store = wiring.make_store(settings)
            world = World(sandbox, settings, client, store)
            world.seen = {one.entry_id for one in store.entries()}
            for number in batch:
                kind = KINDS[number % len(KINDS)]
                judged.append(await world.judge(number + number // len(KINDS), kind))
    return judged


async def _reconcile(settings: Settings, management_key: str) -> Reconciliation:
    async with (
        wiring.make_store(settings) as book,
        OpenRouterGateway(settings, book=book) as gateway,
    ):
        account = OpenRouterAccount(
            gateway.api, settings.server_keys(), management_key=management_key
        )
        return await Reconciler(book, account, patience_s=PATIENCE_S).reconcile(days=1)


def summarise(
    judged: Sequence[Judged], entries: Sequence[LedgerEntry], result: Reconciliation, bill: Decimal
) -> dict[str, Any]:
    """Return the figures."""
    booked = sum((one.booked_usd for one in judged), Decimal(0))
    after = sum((one.cost_usd for one in entries), Decimal(0))
    document = result.as_json()
    settled_alone = {
        attempt.attempt_id: attempt
        for entry in entries
        for attempt in entry.attempts
        if attempt.cost_source == "generation"
    }
    return {
        "calls": len(judged),
        "attempts": sum(len(one.entry.attempts) for one in judged),
        "unclear": sum(one.entry.cost_status == "estimated" for one in judged),
        "under_known": sum(one.booked_usd < one.known_usd for one in judged),
        "over_reserved": sum(
            one.booked_usd > one.reserved_usd and one.kind != "told far above" for one in judged
        ),
        "under_bill_before": sum(one.booked_usd < one.billed_usd for one in judged),
        "lowest_share_before": str(_lowest_share(judged)),
        "booked_before_usd": str(booked),
        "bill_usd": str(bill),
        "booked_after_usd": str(after),
        "difference_usd": str(after - bill),
        "settled_by_id": len(settled_alone),
        "settled_by_total": document["settled_by_total"],
        "pending": document["pending"],
        "orphans": document["orphans"],
        "doubts": len(document["doubts"]),
        "kinds": _by_kind(judged),
        "under_bill_calls": [
            f"{one.kind}, {one.dialect}, {'streamed' if one.is_stream else 'whole'}, "
            f"{one.entry.model}: {one.booked_usd} of {one.billed_usd}, known {one.known_usd}"
            for one in judged
            if one.booked_usd < one.billed_usd
        ],
    }


def _lowest_share(judged: Sequence[Judged]) -> Decimal:
    shares = [one.booked_usd / one.billed_usd for one in judged if one.billed_usd]
    return round(min(shares, default=Decimal(1)), 3)


def _by_kind(judged: Sequence[Judged]) -> dict[str, dict[str, Any]]:
    groups: dict[str, list[Judged]] = defaultdict(list)
    for one in judged:
        groups[one.kind].append(one)
    return {
        kind: {
            "calls": len(group),
            "booked_usd": str(sum((one.booked_usd for one in group), Decimal(0))),
            "billed_usd": str(sum((one.billed_usd for one in group), Decimal(0))),
            "under_known": sum(one.booked_usd < one.known_usd for one in group),
            "under_bill": sum(one.booked_usd < one.billed_usd for one in group),
        }
        for kind, group in groups.items()
    }


def print_summary(summary: dict[str, Any]) -> None:
    """Print the figures for a person."""
    for key, value in summary.items():
        if key not in ("kinds", "under_bill_calls"):
            print(f"{key:22} {value}")
    for kind, row in summary["kinds"].items():
        print(f"  {kind:34} {row}")
    for line in summary["under_bill_calls"]:
        print(f"  under its bill: {line}")


def describe(summary: dict[str, Any]) -> str:
    """Return the figures as the section of the page."""
    rows = [
        (
            kind,
            row["calls"],
            _short(row["booked_usd"]),
            _short(row["billed_usd"]),
            row["under_known"],
            row["under_bill"],
        )
        for kind, row in summary["kinds"].items()
    ]
    head = ("fault", "calls", "booked, USD", "billed, USD", "under what is known", "under the bill")
    text = (
        f"{summary['calls']} calls ({summary['attempts']} attempts), streamed and whole, in three "
        f"dialects. Before reconciling, {summary['under_known']} were booked under what was known "
        f"of them, {summary['over_reserved']} over what was held for them, and "
        f"{summary['under_bill_before']} under their bill (the lowest at "
        f"{summary['lowest_share_before']} of it); in all {_short(summary['booked_before_usd'])} "
        f"USD were booked and {_short(summary['bill_usd'])} USD billed. After reconciling "
        f"({summary['settled_by_id']} attempts by id, {summary['settled_by_total']} by totals, "
        f"{summary['pending']} left) the difference is {summary['difference_usd']} USD. "
        f"{summary['doubts']} reported costs were in doubt."
    )
    return f"{text}\n\n{reliability_page.table(head, rows, 'lrrrrr')}"


def _short(usd: str) -> str:
    return f"{Decimal(usd):.6f}"


def main() -> int:
    """Run the benchmark; return 1 if anything was wrong."""

    def extend(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--calls", type=int, help=f"{CALLS}; {QUICK_CALLS} with --quick")
        parser.add_argument("--page", action="store_true", help="write docs/reliability.md")

    options = harness.parse_arguments(__doc__, extend)
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    calls = options.calls or (QUICK_CALLS if options.quick else CALLS)
    section = reliability_page.Section(name="faulted-costs", command=COMMAND)
    summary = summarise(*asyncio.run(run(calls)))
    print_summary(summary)
    report = harness.Report(more={"costs": summary})
    report.add("faulted costs", "under what is known", "calls", [float(summary["under_known"])])
    report.finish(options)
    if options.page:
        section.write(describe(summary))
    wrong = ("under_known", "over_reserved", "pending", "orphans")
    return 1 if any(summary[one] for one in wrong) or Decimal(summary["difference_usd"]) else 0


if __name__ == "__main__":
    sys.exit(main())
