"""Kills processes and cuts the power, and counts what is lost and what stays reserved.

    uv run python benchmarks/crash.py                     100 kills, 200 power cuts
    uv run python benchmarks/crash.py --quick             10 kills, 20 power cuts; writes no page
    uv run python benchmarks/crash.py --kills N --cuts N

A running `devflow serve --workers 2` answers from the stand-in while requests come in without a
pause. One worker after the other is killed with SIGKILL at a moment that chance chooses, and every
tenth time their supervisor, after which the gateway is started again. Then every request that was
answered with 200 has to stand in the ledger exactly once, what is spent has to be the sum of the
entries, nothing may be reserved, and the chain has to verify. A kill takes nothing from the
drive's cache: what a power cut loses is shown by a simulated disk below a ledger of its own.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import reliability_page
from devflow_core.ledger import AttemptStart, LedgerEntry
from devflow_core.testing import an_attempt, an_entry
from devflow_sandbox.threaded import ThreadedSandbox
from devflow_store import Store
from devflow_store.testing import PowerCuts, cut_power

DEVFLOW = Path(sys.executable).with_name("devflow")
SUPERVISOR_EVERY = 10
CLIENTS = 8
PATIENCE_S = 120.0
BODY = json.dumps(
    {
        "model": "anthropic/claude-haiku-4.5",
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 64,
    }
)


@dataclass
class Load:
    """Clients that send requests without a pause, with the replies that they got."""

    port: int = 0
    acknowledged: list[str] = field(default_factory=list[str])
    """Ids of requests answered completely with 200."""
    unanswered: int = 0
    is_over: bool = False

    @contextmanager
    def running(self) -> Generator[None]:
        """Run the clients until the block ends."""
        threads = [threading.Thread(target=self._ask_on) for _ in range(CLIENTS)]
        for one in threads:
            one.start()
        try:
            yield
        finally:
            self.is_over = True
            for one in threads:
                one.join()

    def _ask_on(self) -> None:
        while not self.is_over:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
            try:
                connection.request("POST", "/v1/chat/completions", BODY)
                reply = connection.getresponse()
                reply.read()
                if reply.status == 200:
                    self.acknowledged.append(reply.headers["x-devflow-request-id"])
            except (OSError, http.client.HTTPException):
                self.unanswered += 1
                time.sleep(0.05)
            finally:
                connection.close()


class Gateway:
    """`devflow serve` with two workers on one port, restarted when killed."""

    def __init__(self, home: Path, sandbox: ThreadedSandbox) -> None:
        self._home = home
        self._environment = {
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "OPENROUTER_BASE_URL": sandbox.base_url,
            "OPENROUTER_API_KEY": sandbox.api_key,
            "OPENROUTER_COST_BUDGET_USD": "100000",
        }
        self.port = 0
        self.restart_s: list[float] = []

    def start(self) -> None:
        """Start it, after the first time on the same port, and wait until it answers."""
        began_s = time.monotonic()
        command = [str(DEVFLOW), "serve", "--no-key", "--json", "--workers", "2"]
        self.child = subprocess.Popen(
            [*command, "--port", str(self.port)],
            cwd=self._home,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        said = self.child.stdout
        assert said is not None
        text = b"".join(iter(lambda: said.readline() or b"}\n", b"}\n"))
        self.port = int(text.partition(b'"url": "')[2].partition(b'"')[0].rpartition(b":")[2])
        wait_until(self.is_ready, "the gateway is ready")
        self.restart_s.append(time.monotonic() - began_s)

    def is_ready(self) -> bool:
        """Return whether a worker takes requests."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def workers(self) -> list[int]:
        """Return the process ids of the living workers."""
        pid = self.child.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(one) for one in children if "spawn_main" in command_line(one)]

    def kill_worker(self, chance: random.Random, load: Load) -> None:
        """Kill one of the two workers, after a random number of further requests."""
        enough = len(load.acknowledged) + chance.randrange(1, 60)
        wait_until(
            lambda: len(self.workers()) == 2 and len(load.acknowledged) >= enough, "two at work"
        )
        victim = chance.choice(self.workers())
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: victim not in self.workers(), "it is gone")

    def kill_supervisor(self, chance: random.Random) -> None:
        """Kill the supervisor, wait until its workers have ended, and restart on the same port."""
        workers = self.workers()
        time.sleep(chance.random())
        self.child.kill()
        self.child.communicate()
        wait_until(lambda: not any(map(is_alive, workers)), "no orphan is left")
        self.start()

    def end(self) -> int:
        """Terminate it in order, and return its exit status."""
        self.child.terminate()
        self.child.communicate(timeout=PATIENCE_S)
        return self.child.returncode


def command_line(pid: str) -> str:
    """Return the arguments of a process; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""


def is_alive(pid: int) -> bool:
    """Return whether a process is running; a zombie is not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in "ZX"


def wait_until(is_so: object, what: str) -> None:
    """Wait until a condition holds, at most `PATIENCE_S`."""
    assert callable(is_so)
    until_s = time.monotonic() + PATIENCE_S
    while not is_so():
        if time.monotonic() > until_s:
            raise TimeoutError(f"not so after {PATIENCE_S:g} s: {what}")
        time.sleep(0.01)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The findings after the kills."""

    kills: int
    supervisors: int
    acknowledged: int
    lost: int
    twice: int
    written_off: int
    is_exact: bool
    is_chain_whole: bool
    held_s: float
    """How long after the last kill anything was still reserved, in seconds."""
    restart_s: float
    """The longest time from a restart to the first answer, in seconds."""


def kill_under_load(kills: int, folder: Path) -> Outcome:
    """Kill the given number of times under load, then check the ledger."""
    chance = random.Random(20261130)  # noqa: S311 - repeatable, not secret
    load, store = Load(), Store(folder / ".local" / "share" / "devflow" / "sandbox" / "ledger.db")
    with ThreadedSandbox() as sandbox:
        gateway = Gateway(folder, sandbox)
        gateway.start()
        load.port = gateway.port
        with load.running():
            for number in range(1, kills + 1):
                if number % SUPERVISOR_EVERY:
                    gateway.kill_worker(chance, load)
                else:
                    gateway.kill_supervisor(chance)
                print(f"{number} kills, {len(load.acknowledged)} acknowledged", flush=True)
            last_s = time.monotonic()
        wait_until(lambda: not reserved_usd(store), "nothing is reserved")
        held_s = time.monotonic() - last_s
        assert gateway.end() == 0
    times = Counter(entry.entry_id for entry in store.entries())
    entries = list(store.entries())
    spent_usd = sum(state.spent_usd for state in store.budget_states())
    return Outcome(
        kills=kills,
        supervisors=kills // SUPERVISOR_EVERY,
        acknowledged=len(load.acknowledged),
        lost=sum(times[one] == 0 for one in load.acknowledged),
        twice=sum(count > 1 for count in times.values()),
        written_off=sum(entry.error_code == "process_lost" for entry in entries),
        is_exact=spent_usd == sum((entry.cost_usd for entry in entries), Decimal(0)),
        is_chain_whole=store.verify().ok,
        held_s=held_s,
        restart_s=max(gateway.restart_s),
    )


def reserved_usd(store: Store) -> Decimal:
    """Return the sum reserved in all budgets."""
    return sum((state.reserved_usd for state in store.budget_states()), Decimal(0))


def some_requests(count: int) -> list[tuple[AttemptStart, LedgerEntry]]:
    """Return requests with one attempt each."""
    made: list[tuple[AttemptStart, LedgerEntry]] = []
    for number in range(count):
        attempt = an_attempt(attempt_id=f"att_{number}")
        entry = an_entry(entry_id=f"req_{number}", attempts=(attempt,))
        start = AttemptStart(
            attempt_id=attempt.attempt_id,
            entry_id=entry.entry_id,
            number=1,
            model=attempt.model,
            started_at=entry.started_at,
            reserved_usd=Decimal("0.01"),
            task_type=entry.task_type,
            attribution=entry.attribution,
        )
        made.append((start, entry))
    return made


def render(outcome: Outcome, full: PowerCuts, weak: PowerCuts) -> str:
    """Return the section of the page."""
    rows = [
        ("kills with SIGKILL under load", outcome.kills),
        ("of them of the supervisor, after which its workers ended by themselves",
         outcome.supervisors),
        ("requests answered with 200", f"{outcome.acknowledged:,}"),
        ("of them not in the ledger", outcome.lost),
        ("entries that stand there twice", outcome.twice),
        ("requests under way, written off at what was reserved", outcome.written_off),
        ("spent by the budgets = sum of the entries", _yes(outcome.is_exact)),
        ("the chain verifies", _yes(outcome.is_chain_whole)),
        ("seconds until nothing was reserved any more", f"{outcome.held_s:.1f}"),
        ("seconds from a new start to the first answer, at most", f"{outcome.restart_s:.1f}"),
    ]  # fmt: skip
    cuts = [
        (name, one.cuts, f"{one.acknowledged:,}", one.lost, one.damaged)
        for name, one in (
            ("as the ledger is set (FULL)", full),
            ("a weaker setting (NORMAL)", weak),
        )
    ]
    head = ("power cuts, simulated disk", "cuts", "acknowledged", "cuts with a loss", "damaged")
    return (
        f"{reliability_page.table(('', 'figure'), rows, 'lr')}\n\n"
        f"{reliability_page.table(head, cuts, 'lrrrr')}\n\n"
        "The weaker setting shows that the simulated disk sees a loss where there is one."
    )


def _yes(is_so: bool) -> str:
    return "yes" if is_so else "NO"


def main() -> int:
    """Run both parts; return 1 if anything was lost, doubled or still reserved."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, and no page")
    parser.add_argument("--kills", type=int)
    parser.add_argument("--cuts", type=int)
    options = parser.parse_args()
    kills = options.kills or (10 if options.quick else 100)
    cuts = options.cuts or (20 if options.quick else 200)
    command = " ".join(["uv run python benchmarks/crash.py", *sys.argv[1:]])
    section = reliability_page.Section(name="crash", command=command)
    with tempfile.TemporaryDirectory(prefix="devflow-crash-") as name:
        folder = Path(name)
        for part in ("home", "full", "weak"):
            (folder / part).mkdir()
        outcome = kill_under_load(kills, folder / "home")
        requests = some_requests(20)
        full = cut_power(folder / "full", requests, cuts)
        weak = cut_power(folder / "weak", requests, max(1, cuts // 10), "NORMAL")
    text = render(outcome, full, weak)
    print(text)
    if not options.quick:
        section.write(text)
    is_good = outcome.is_exact and outcome.is_chain_whole
    return 0 if is_good and not (outcome.lost or outcome.twice or full.lost or full.damaged) else 1


if __name__ == "__main__":
    sys.exit(main())
