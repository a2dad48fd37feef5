"""Measures how soon the server reports a fault of its ledger, and how soon it recovers.

Each fault strikes a running `devflow serve` that is asked without pause. From then on `/readyz`,
the log and `/metrics` are looked at, in turn, until each says the state; a second after the last
one the fault is taken back, and the time is taken until `/readyz` is well and a request is paid
again. Then it strikes once more while nobody asks for anything. In the end the ledger is read:
whatever was answered with 200 has to be in it.

The faults are those of the tests (`tests/integration`). A full disk needs the right to mount one.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import harness
import reliability_page
from devflow_store import Store
from integration.ledger_faults import (
    DISK_FULL,
    FILE_FAULTS,
    GatewayUnderFault,
    Undo,
    gateway,
    small_disk,
)
from integration.postgres_faults import DATABASE_FAULTS, open_database

SECTION = reliability_page.Section(
    name="store-states", command="uv run python benchmarks/store_states.py"
)
PAUSE_S = 1.0
COLUMNS = ("idle_s", "ready_s", "log_s", "metric_s", "refused_s", "recovered_s", "paid_s")


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A fault that is ready to be applied."""

    name: str
    strike: Callable[[], Undo]
    one: GatewayUnderFault
    states: frozenset[str]
    database: str | Path


@dataclass(frozen=True, kw_only=True)
class Found:
    """The results of one trial, in seconds since the fault or since it was removed."""

    name: str
    state: str
    idle_s: float
    """Time until `/readyz` reported it while no requests came."""
    ready_s: float
    log_s: float
    metric_s: float
    refused_s: float
    """The longest wait of a request for its 503 once the state was reported."""
    recovered_s: float
    paid_s: float
    acknowledged: int
    missing: int


def main() -> None:
    """Apply the faults, and write the section."""
    arguments = harness.parse_arguments(__doc__)
    rounds = 1 if arguments.quick else 3
    found: dict[str, list[Found]] = {}
    for _ in range(rounds):
        for result in run_all():
            found.setdefault(result.name, []).append(result)
            sys.stdout.write(f"{result}\n")
    SECTION.write(render(found, rounds))


def run_all() -> Iterator[Found]:
    """Run each fault once."""
    for fault in (*FILE_FAULTS, DISK_FULL):
        with ExitStack() as stack:
            home = make_home(stack)
            if fault is DISK_FULL:
                try:
                    stack.enter_context(small_disk(home / "data"))
                except PermissionError:
                    continue
            file = home / "data" / "ledger.db"
            yield run_trial(home, fault.name, fault.states, fault.strike, file)
    for name, states, strike in DATABASE_FAULTS:
        with ExitStack() as stack:
            database = stack.enter_context(open_database())
            yield run_trial(
                make_home(stack),
                f"PostgreSQL: {name}",
                states,
                lambda _folder, strike=strike, database=database: strike(database),
                database.url,
            )


def make_home(stack: ExitStack) -> Path:
    """Return a temporary folder that only its owner can read."""
    home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="devflow-states-")))
    home.chmod(0o700)
    return home


def run_trial(
    home: Path,
    name: str,
    states: frozenset[str],
    strike: Callable[[Path], Undo],
    database: str | Path,
) -> Found:
    """Start, apply the fault, watch, remove it, watch again, and check the books."""
    more = {} if isinstance(database, Path) else {"DEVFLOW_LEDGER_URL": database}
    with gateway(home, "--no-key", **more) as one:
        for _ in range(3):
            one.ask()
        with one.asked_without_pause():
            trial = Trial(
                name=name,
                strike=lambda: strike(one.data_dir),
                one=one,
                states=states,
                database=database,
            )
            time.sleep(PAUSE_S)
            seen, undo = watch_fault(trial)
            refused_s = max(time_refusal(one) for _ in range(5))
            time.sleep(PAUSE_S)
            undo()
            began_s = time.monotonic()
            one.until(lambda: one.readyz() == (200, "ready"), "ready again")
            recovered_s = time.monotonic() - began_s
            one.until(lambda: one.ask().status == 200, "paid again")
            paid_s = time.monotonic() - began_s
        one.until(lambda: one.metrics()['devflow_emergency_entries{worker="0"}'] == 0, "drained")
        time.sleep(PAUSE_S)
        undo = trial.strike()
        began_s = time.monotonic()
        one.until(lambda: one.readyz()[0] == 503, "told")
        idle_s = time.monotonic() - began_s
        undo()
        one.until(lambda: one.readyz() == (200, "ready"), "ready again")
    entries = {entry.entry_id for entry in Store(database, data_dir=one.data_dir).entries()}
    return Found(
        name=name,
        state="/".join(sorted(states)),
        idle_s=idle_s,
        ready_s=seen["ready"],
        log_s=seen["log"],
        metric_s=seen["metric"],
        refused_s=refused_s,
        recovered_s=recovered_s,
        paid_s=paid_s,
        acknowledged=len(one.acknowledged),
        missing=len(set(one.acknowledged) - entries),
    )


def watch_fault(trial: Trial) -> tuple[dict[str, float], Undo]:
    """Apply the fault; return the seconds until each view reported it, and what removes it.

    The views are readiness, the log and the metric.
    """
    one, states = trial.one, trial.states
    looks: dict[str, Callable[[], bool]] = {
        "ready": lambda: one.readyz()[0] == 503 and one.readyz()[1] in states,
        "log": lambda: any(f"state={state}" in one.child.err for state in states),
        "metric": lambda: any(
            one.metrics().get(f'devflow_ledger_state{{state="{state}",worker="0"}}') == 1
            for state in states
        ),
    }
    undo = trial.strike()
    began_s = time.monotonic()
    seen: dict[str, float] = {}
    while len(seen) < len(looks):
        for name in set(looks) - set(seen):
            if looks[name]():
                seen[name] = time.monotonic() - began_s
        if time.monotonic() > began_s + 60:
            raise TimeoutError(f"{trial.name}: only {seen} has told")
    return seen, undo


def time_refusal(one: GatewayUnderFault) -> float:
    """Return how long a request waits for its 503, in seconds."""
    began_s = time.monotonic()
    one.ask()
    return time.monotonic() - began_s


def render(found: dict[str, list[Found]], rounds: int) -> str:
    """Return the section."""
    head = (
        "what befell the ledger", "state told", "readyz, idle", "readyz", "log", "metric",
        "503 within", "ready again", "paid again", "answered 200", "of these missing",
    )  # fmt: skip
    rows = [
        (
            name,
            results[0].state,
            *(span(getattr(one, column) for one in results) for column in COLUMNS),
            sum(one.acknowledged for one in results),
            sum(one.missing for one in results),
        )
        for name, results in found.items()
    ]
    note = (
        f"Milliseconds, the median of {rounds} and the range: after the fault until each said so"
        " (under requests; the first column while nobody asks), the longest wait for a 503 once it"
        " was told, and after the fault was taken back. A lock is told once a writer has waited"
        " for 0.4 s, and refused after 5 s. Looks follow each other as fast as the machine"
        " answers, which other programs share."
    )
    return f"{note}\n\n{reliability_page.table(head, rows, 'llrrrrrrrrr')}"


def span(values: Iterator[float]) -> str:
    """Return the median and the range of seconds, in milliseconds."""
    all_ms = sorted(1000 * value for value in values)
    if len(all_ms) == 1:
        return f"{all_ms[0]:.0f}"
    return f"{statistics.median(all_ms):.0f} ({all_ms[0]:.0f}-{all_ms[-1]:.0f})"


if __name__ == "__main__":
    os.environ.pop("DEVFLOW_LEDGER_URL", None)
    main()
