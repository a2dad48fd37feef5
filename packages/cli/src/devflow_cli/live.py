"""Reads what happens right now, from the ledger and a running server, and shows it until Ctrl-C."""

from __future__ import annotations

import io
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from devflow_core.settings import Settings
    from devflow_store import BudgetState, Store

    from devflow_cli.run import Run

REFRESH_S = 2.0
"""Seconds between two looks."""
RATE_WINDOW = timedelta(minutes=5)
"""The time that rates are means over."""
ERROR_WINDOW = timedelta(hours=1)
"""The greatest age of an error that is shown."""
NEAR_LIMIT = Decimal("0.5")
"""Budgets are shown from this share of their limit on."""
MAX_ERRORS = 5
SERVER_TIMEOUT_S = 1.0
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


class _Screen(io.StringIO):
    """Collects what is printed for a terminal."""

    def isatty(self) -> bool:
        return True


def refresh(run: Run, show: Callable[[], None], every_s: float = REFRESH_S) -> None:
    """Show something again and again, in the same place on a terminal, until Ctrl-C.

    On a terminal, lines beyond its height are cut off. In a pipe, what is shown each time stands
    below the last, with an empty line between.
    """
    try:
        if run.console.is_terminal:
            sys.stdout.write(f"{_HOME}{_CLEAR_BELOW}")
        while True:
            if run.console.is_terminal:
                _draw(show)
            else:
                show()
                run.say()
            time.sleep(every_s)
    except KeyboardInterrupt:
        # the way to end it, thus not an interruption
        return


def _draw(show: Callable[[], None]) -> None:
    """Draw over what the terminal shows, and clear the rest: clearing first would flicker."""
    with redirect_stdout(_Screen()) as screen:
        show()
    lines = screen.getvalue().splitlines()[: shutil.get_terminal_size().lines - 1]
    body = "".join(f"{line}{_CLEAR_LINE}\n" for line in lines)
    sys.stdout.write(_HOME + body + _CLEAR_BELOW)
    sys.stdout.flush()


def take_snapshot(settings: Settings) -> dict[str, Any]:
    """Return what runs, what it costs, which budgets are near their limits, and what failed.

    Without a ledger, everything is empty except what is known of the server.

    Raises:
        StoreError: the ledger cannot be read.
    """
    from devflow_gateway import wiring

    now = datetime.now(UTC)
    document: dict[str, Any] = {
        "at": now.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "server": _ask_server(settings),
        "running": [],
        "rate": {"requests_per_min": 0.0, "cost_usd_per_min": Decimal(0), "models": []},
        "budgets": [],
        "errors": [],
    }
    if wiring.has_ledger(settings):
        document |= _read_ledger(wiring.make_store(settings), now)
    return document


def _read_ledger(store: Store, now: datetime) -> dict[str, Any]:
    return {
        "running": [
            {
                "model": one.model,
                "task": one.task_type,
                "project": one.attribution.project,
                "attempt": one.number,
                "for_s": round(max(0.0, (now - one.started_at).total_seconds()), 1),
                "reserved_usd": one.reserved_usd,
                "entry_id": one.entry_id,
            }
            for one in store.running()
        ],
        "rate": _read_rate(store, now),
        "budgets": _near_limits(store.budget_states(now)),
        "errors": _latest_errors(store, now),
    }


def _read_rate(store: Store, now: datetime) -> dict[str, Any]:
    from devflow_core.usage import from_pico

    minutes = RATE_WINDOW.total_seconds() / 60
    groups = store.groups("model", since=now - RATE_WINDOW)
    models = sorted(groups.items(), key=lambda one: (-one[1].cost_pico, one[0]))
    return {
        "requests_per_min": round(sum(one.requests for one in groups.values()) / minutes, 2),
        "cost_usd_per_min": _per_min(sum(one.cost_pico for one in groups.values()), minutes),
        "models": [
            {
                "model": name,
                "requests_per_min": round(one.requests / minutes, 2),
                "cost_usd_per_min": _per_min(one.cost_pico, minutes),
                "cost_usd": from_pico(one.cost_pico),
                "errors": one.failed,
            }
            for name, one in models
        ],
    }


def _per_min(pico: int, minutes: float) -> Decimal:
    from devflow_core.usage import from_pico

    return from_pico(round(pico / minutes))


def _near_limits(states: list[BudgetState]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for state in states:
        budget = state.budget
        used = state.spent_usd + state.reserved_usd
        share = used / budget.limit_usd if budget.limit_usd else Decimal(1)
        if share >= NEAR_LIMIT:
            found.append(
                {
                    "id": budget.id,
                    "scope": budget.scope,
                    "subject": state.subject,
                    "window": budget.window,
                    "limit_usd": budget.limit_usd,
                    "left_usd": state.left_usd,
                    "used_share": round(float(share), 4),
                }
            )
    return sorted(found, key=lambda one: -one["used_share"])


def _latest_errors(store: Store, now: datetime) -> list[dict[str, Any]]:
    failed = [one for one in store.entries(since=now - ERROR_WINDOW) if one.outcome != "succeeded"]
    return [
        {
            "at": one.started_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "model": one.final_attempt.model if one.final_attempt else one.requested_model,
            "error": one.error_code or one.outcome,
            "entry_id": one.entry_id,
        }
        for one in islice(reversed(failed), MAX_ERRORS)
    ]


def _ask_server(settings: Settings) -> dict[str, Any] | None:
    """Return the URL and the readiness of a server at the settings' address; None without one."""
    import urllib.error
    import urllib.request

    url = f"http://{settings.host}:{settings.port}"
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=SERVER_TIMEOUT_S):  # noqa: S310 - http
            return {"url": url, "is_ready": True}
    except urllib.error.HTTPError as error:
        error.close()
        # 503 is the gateway's own word; anything else is some other server
        return {"url": url, "is_ready": False} if error.code == 503 else None
    except (OSError, ValueError):
        return None
