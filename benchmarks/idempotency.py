"""Checks that each idempotency key is carried out once, while clients leave and workers die.

Workers of `devflow serve` answer from the stand-in for OpenRouter, which keeps its own bill. Many
requests are sent under each key, in every dialect, streamed and whole; clients leave while they
send, within 25 ms, while they wait and in the middle of the reply. Meanwhile workers are
killed without warning and replaced by their supervisor. Afterwards every key is asked once more. On
the bill no key may stand twice; whoever asks must get the same bytes as all others, or, where the
call was killed in flight, the definite 409.

    uv run python benchmarks/idempotency.py [--quick] [--json FILE] [--page]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import harness
import reliability_page
from devflow_sandbox.threaded import ThreadedSandbox
from devflow_store import Store
from keyed_clients import MOMENTS, Answer, KeyedAsk, Moment, submit, wait_until_ready

PROGRAM = Path(sys.executable).with_name("devflow")
AT_ONCE = 20
SETTLED = frozenset({200, 409})
TRIES = 60
"""Attempts per key in the last round; between two of them the wait that a 503 asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The amount of work."""

    submissions: int
    keys: int
    workers: int
    kills: int


FULL = Plan(submissions=2_000, keys=100, workers=3, kills=6)
QUICK = Plan(submissions=200, keys=20, workers=2, kills=1)


@dataclass(slots=True)
class Record:
    """The replies seen, and the counts of a run."""

    moments: Counter[Moment] = field(default_factory=Counter[Moment])
    answers: dict[int, list[Answer]] = field(default_factory=dict[int, list[Answer]])
    final: dict[int, Answer] = field(default_factory=dict[int, Answer])
    hanging: int = 0
    killed: int = 0
    sent: int = 0

    def add(self, number: int, answer: Answer) -> None:
        """Add a complete reply."""
        self.answers.setdefault(number, []).append(answer)


@contextmanager
def serve(sandbox: ThreadedSandbox, folder: Path, workers: int) -> Generator[tuple[int, int]]:
    """Run the installed command; yield its process id and port."""
    environment = {
        "HOME": str(folder),
        "PATH": os.environ["PATH"],
        "OPENROUTER_API_KEY": sandbox.api_key,
        "OPENROUTER_BASE_URL": sandbox.base_url,
        "DEVFLOW_DATA_DIR": str(folder),
    }
    command = [PROGRAM, "serve", "--no-key", "--port=0", f"--workers={workers}", "--json"]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=log
        ) as child,
    ):
        assert child.stdout is not None
        text = ""
        while not text.rstrip().endswith("}"):
            line = child.stdout.readline().decode()
            if not line:
                raise SystemExit((folder / "log").read_text())
            text += line
        try:
            yield child.pid, int(json.loads(text)["url"].rpartition(":")[2])
        finally:
            child.send_signal(signal.SIGTERM)
            child.wait()


def find_workers(pid: int) -> list[int]:
    """Return the worker processes of a supervisor."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [one for one in map(int, children) if b"spawn_main" in _command_line(one)]


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


# the run


async def run_clients(port: int, pid: int, plan: Plan) -> Record:
    """Send everything while workers are killed, then send every key once more."""
    record = Record()
    chance = random.Random(plan.submissions)  # noqa: S311 - who asks what, and when it leaves
    numbers = [number % plan.keys for number in range(plan.submissions)]
    chance.shuffle(numbers)
    kill_at = [plan.submissions * one // (plan.kills + 1) for one in range(1, plan.kills + 1)]
    left = iter(numbers)

    async def client() -> None:
        for number in left:
            record.sent += 1
            if kill_at and record.sent >= kill_at[0]:
                kill_at.pop(0)
                _kill_worker(pid, chance)
                record.killed += 1
            await _submit_one(port, number, chance, record)

    await wait_until_ready(port)
    await asyncio.gather(*(client() for _ in range(AT_ONCE)))
    asking = iter(range(plan.keys))

    async def ask_last() -> None:
        for number in asking:
            await _ask_until_settled(port, number, chance, record)

    await asyncio.gather(*(ask_last() for _ in range(AT_ONCE)))
    return record


async def _submit_one(port: int, number: int, chance: random.Random, record: Record) -> None:
    moment = chance.choice(MOMENTS)
    record.moments[moment] += 1
    try:
        answer = await submit(port, KeyedAsk(number), moment, chance)
    except TimeoutError:
        record.hanging += 1
        return
    if answer is not None:
        record.add(number, answer)


async def _ask_until_settled(port: int, number: int, chance: random.Random, record: Record) -> None:
    for _ in range(TRIES):
        try:
            answer = await submit(port, KeyedAsk(number), "stays", chance)
        except TimeoutError:
            record.hanging += 1
            return
        if answer is not None:
            record.add(number, answer)
            if answer.status in SETTLED:
                record.final[number] = answer
                return
        await asyncio.sleep(1.0)


def _kill_worker(pid: int, chance: random.Random) -> None:
    os.kill(chance.choice(find_workers(pid)), signal.SIGKILL)


# the verdict


def judge(plan: Plan, record: Record, bill: dict[str, Any], store: Store) -> dict[str, Any]:
    """Compare the replies with the bill and the ledger."""
    # each key's prompt has a length of its own
    calls = Counter(call["prompt_tokens"] for call in bill["calls"])
    entries = list(store.entries())
    statuses = {number: one.status for number, one in record.final.items()}
    unknown = [number for number, status in statuses.items() if status == 409]
    waits = [one.seconds for some in record.answers.values() for one in some]
    return {
        "submissions": record.sent,
        "keys": plan.keys,
        "workers": plan.workers,
        "killed": record.killed,
        "moments": dict(record.moments),
        "answers": sum(map(len, record.answers.values())),
        "replays": sum(one.is_replay for some in record.answers.values() for one in some),
        "statuses": _count(one.status for some in record.answers.values() for one in some),
        "billed_calls": len(bill["calls"]),
        "billed_twice": sum(count > 1 for count in calls.values()),
        "keys_answered": sum(status == 200 for status in statuses.values()),
        "keys_unknown": len(unknown),
        "keys_not_billed": plan.keys - len(calls),
        "keys_unsettled": plan.keys - len(statuses),
        "keys_with_other_bytes": sum(map(_differ, record.answers.values())),
        "answered_and_then_unknown": sum(
            {200, 409} <= {one.status for one in some} for some in record.answers.values()
        ),
        "hanging": record.hanging,
        "longest_wait_s": round(max(waits), 1),
        "entries": len(entries),
        "entries_lost": sum(one.error_code == "process_lost" for one in entries),
        "chain_ok": store.verify().ok,
    }


def _differ(answers: Sequence[Answer]) -> bool:
    """Return whether one key got two different replies."""
    return len({(one.status, one.body) for one in answers if one.status in SETTLED}) > 1


def _count(statuses: Iterator[int]) -> dict[str, int]:
    return {str(status): count for status, count in Counter(statuses).most_common()}


def faults_of(verdict: dict[str, Any]) -> list[str]:
    """Return the names of all violated conditions."""
    never = (
        "billed_twice",
        "keys_unsettled",
        "keys_with_other_bytes",
        "answered_and_then_unknown",
        "hanging",
    )
    wrong = [name for name in never if verdict[name]]
    if verdict["keys_not_billed"] > verdict["keys_unknown"]:
        wrong.append("keys_not_billed")
    return wrong if verdict["chain_ok"] else [*wrong, "chain_ok"]


def run(plan: Plan) -> dict[str, Any]:
    """Run the whole benchmark in a temporary folder."""
    started_s = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as name,
        ThreadedSandbox(ttft_s=0.05, tokens_per_s=200) as sandbox,
    ):
        folder = Path(name)
        with serve(sandbox, folder, plan.workers) as (pid, port):
            record = asyncio.run(run_clients(port, pid, plan))
        while sandbox.bill()["running"]:
            time.sleep(0.05)
        verdict = judge(plan, record, sandbox.bill(), Store(folder / "ledger.db"))
    return {**verdict, "seconds": round(time.monotonic() - started_s, 1)}


# the page


def describe(verdict: dict[str, Any]) -> str:
    """Return the section of docs/reliability.md."""
    rows: list[tuple[str, object]] = [
        ("requests sent", f"{verdict['submissions']:,}"),
        *((f"… whose client left {name}" if name != "stays" else "… whose client stayed", count)
          for name, count in sorted(verdict["moments"].items())),
        ("keys", verdict["keys"]),
        ("workers, killed without warning", f"{verdict['workers']}, {verdict['killed']}"),
        ("calls on the provider's bill", verdict["billed_calls"]),
        ("keys billed twice", verdict["billed_twice"]),
        ("keys answered with 200", verdict["keys_answered"]),
        ("keys answered with 409, their call killed in flight", verdict["keys_unknown"]),
        ("… of them killed before the call left, so not on the bill",
         verdict["keys_not_billed"]),
        ("keys with no definite answer", verdict["keys_unsettled"]),
        ("whole answers, by status",
         ", ".join(f"{count} × {status}" for status, count in verdict["statuses"].items())),
        ("keys with two different answers", verdict["keys_with_other_bytes"]),
        ("requests that hang", verdict["hanging"]),
        ("longest wait for an answer", f"{verdict['longest_wait_s']} s"),
        ("the ledger's chain verifies", "yes" if verdict["chain_ok"] else "NO"),
    ]  # fmt: skip
    note = (
        "The longest wait is that of clients who came while all workers that were left were still"
        " starting."
    )
    return f"{reliability_page.table(('', 'seen'), rows, 'lr')}\n\n{note}"


def main() -> int:
    """Run the benchmark."""

    def extend(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--submissions", type=int, help="2,000; 200 with --quick")
        parser.add_argument("--keys", type=int, help="100; 20 with --quick")
        parser.add_argument("--workers", type=int, help="3; 2 with --quick")
        parser.add_argument("--kills", type=int, help="6; 1 with --quick")
        parser.add_argument("--page", action="store_true", help="write the section of the page")

    options = harness.parse_arguments(__doc__, extend)
    usual = QUICK if options.quick else FULL
    plan = Plan(
        submissions=options.submissions or usual.submissions,
        keys=options.keys or usual.keys,
        workers=options.workers or usual.workers,
        kills=usual.kills if options.kills is None else options.kills,
    )
    section = reliability_page.Section(
        name="idempotency", command="uv run python benchmarks/idempotency.py --page"
    )
    verdict = run(plan)
    for key, value in verdict.items():
        print(f"{key:26} {value}")
    report = harness.Report(more={"idempotency": verdict})
    report.add("idempotency", "billed twice", "keys", [verdict["billed_twice"]])
    report.add("idempotency", "answered", "keys", [verdict["keys_answered"]])
    report.finish(options)
    wrong = faults_of(verdict)
    print("wrong:", ", ".join(wrong) or "nothing")
    if options.page:
        section.write(describe(verdict))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
