"""Alerts reach their receivers, signed; one that does not reach them harms no request."""

from __future__ import annotations

import asyncio
import hmac
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import orjson
import pytest
from devflow_core.errors import ConfigurationError
from devflow_core.ledger import AttemptStart, LedgerEntry
from devflow_store import Alert, Budget, BudgetAlert, CommandAlerts, Store, WebhookAlerts
from devflow_store.budgets.alerts import SIGNATURE_HEADER, TIMEOUT_S, AlertDispatcher, alert_json

ALERT = BudgetAlert(
    budget=Budget(scope="key", value="ci", window="day", limit_usd=Decimal("1.50")),
    subject="ci",
    threshold=0.8,
    is_overrun=False,
    spent_usd=Decimal("1.25"),
    window_start=datetime(2026, 11, 20, tzinfo=UTC),
)
Received = list[tuple[str | None, bytes]]


@pytest.fixture
def receiver() -> Iterator[tuple[str, Received, list[int]]]:
    """Run a webhook; yield its address, what it receives, and the statuses that it answers with."""
    received: Received = []
    statuses: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.headers[SIGNATURE_HEADER], body))
            self.send_response(statuses.pop() if statuses else 204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook?team=1", received, statuses
        server.shutdown()
        thread.join()


def test_a_webhook_gets_the_alert_with_a_signature(receiver: Any) -> None:
    url, received, statuses = receiver
    asyncio.run(_run_hook(WebhookAlerts(url, "s3cret")))
    ((signed, body),) = received
    assert orjson.loads(body) == {
        "event": "budget_threshold",
        "budget": "key:ci:day",
        "scope": "key",
        "subject": "ci",
        "window": "day",
        "window_start": "2026-11-20T00:00:00+00:00",
        "threshold": 0.8,
        "spent_usd": "1.25",
        "limit_usd": "1.5",
    }
    at, _, mac = signed.removeprefix("t=").partition(",v1=")
    assert mac == hmac.new(b"s3cret", f"{at}.".encode() + body, sha256).hexdigest()
    statuses.append(302)
    with pytest.raises(OSError, match="302"):
        asyncio.run(_run_hook(WebhookAlerts(url, "s3cret")))
    assert len(received) == 2


async def _run_hook(hook: Callable[[Alert], Any]) -> None:
    await hook(ALERT)


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        ("https://example.org/x", ""),
        ("http://example.org/x", "s"),
        ("ftp://127.0.0.1/x", "s"),
        ("nonsense", "s"),
    ],
)
def test_an_unsafe_webhook_stops_the_start(url: str, secret: str) -> None:
    with pytest.raises(ConfigurationError):
        WebhookAlerts(url, secret)


def test_a_command_reads_the_alert(tmp_path: Path) -> None:
    target = tmp_path / "alert"
    code = "import sys; open(sys.argv[1], 'wb').write(sys.stdin.buffer.read())"
    asyncio.run(_run_hook(CommandAlerts((sys.executable, "-c", code, str(target)), {})))
    assert orjson.loads(target.read_bytes())["spent_usd"] == "1.25"
    with pytest.raises(OSError, match="status 3"):
        asyncio.run(_run_hook(CommandAlerts((sys.executable, "-c", "raise SystemExit(3)"), {})))
    with pytest.raises(ConfigurationError):
        CommandAlerts((), {})


def test_a_hook_that_fails_or_hangs_harms_no_request(
    file: Path, request_of: Callable[..., tuple[AttemptStart, LedgerEntry]]
) -> None:
    alerts: list[BudgetAlert] = []

    async def broken(alert: Alert) -> None:
        raise ZeroDivisionError

    async def unreachable(alert: Alert) -> None:
        with suppress(ConfigurationError):
            await WebhookAlerts("http://127.0.0.1:1/", "s")(alert)

    async def good(alert: Alert) -> None:
        assert isinstance(alert, BudgetAlert)
        alerts.append(alert)

    async def main() -> None:
        async with Store(file, on_alert=(broken, unreachable, good)) as store:
            await store.budgets.set(
                Budget(scope="global", window="lifetime", limit_usd=Decimal("0.002"))
            )
            for number in range(2):
                start, entry = request_of(number, reserved_usd="0.0001")
                await store.begin(start)
                await store.close(entry)

    asyncio.run(main())
    assert [one.is_overrun for one in alerts] == [True]


async def test_a_hook_that_will_not_end_holds_up_no_later_alert(loop_clock: Any) -> None:
    alerts: list[Alert] = []
    forgiven = asyncio.Event()

    async def stubborn(alert: Alert) -> None:
        while not forgiven.is_set():
            with suppress(asyncio.CancelledError):
                await forgiven.wait()

    async def good(alert: Alert) -> None:
        alerts.append(alert)

    dispatcher = AlertDispatcher((stubborn, good))
    running = asyncio.ensure_future(dispatcher.run())
    dispatcher.enqueue((ALERT, ALERT))
    end_s = loop_clock() + 10 * TIMEOUT_S
    await loop_clock.run_until(lambda: len(alerts) == 2 or loop_clock() > end_s, step_s=1.0)
    assert len(alerts) == 2
    running.cancel()
    forgiven.set()
    await asyncio.wait([running])


def test_a_cost_that_cannot_be_is_told_once(
    file: Path, request_of: Callable[..., tuple[AttemptStart, LedgerEntry]]
) -> None:
    told: list[Alert] = []

    async def hook(alert: Alert) -> None:
        told.append(alert)

    async def main() -> None:
        async with Store(file, on_alert=(hook,)) as store:
            start, entry = request_of(1, reserved_usd="0.1", cost_usd="0.05")
            open_one = replace(entry.attempts[0], cost_status="estimated", cost_doubt="zero")
            await store.begin(start)
            for _ in range(2):  # what may or may not have been written is written again
                await store.close(replace(entry, attempts=(open_one,)))
            await store.confirm(start.attempt_id, Decimal(0), "0")
            start, entry = request_of(2, reserved_usd="0.1", cost_usd="0.05")
            open_one = replace(entry.attempts[0], cost_status="estimated")
            await store.begin(start)
            await store.close(replace(entry, attempts=(open_one,)))
            for _ in range(2):
                await store.confirm(start.attempt_id, Decimal("0.2"), "0.2")
        assert [one.attempts[0].cost_doubt for one in store.entries()] == ["zero", "above_reserve"]

    asyncio.run(main())
    documents = [orjson.loads(alert_json(one)) for one in told]
    assert [(one["event"], one["doubt"]) for one in documents] == [
        ("cost_doubt", "zero"),
        ("cost_doubt", "above_reserve"),
    ]
    assert (documents[1]["booked_usd"], documents[1]["reserved_usd"]) == ("0.2", "0.1")


def test_what_nobody_could_confirm_does_not_pass_for_settled(
    file: Path, request_of: Callable[..., tuple[AttemptStart, LedgerEntry]]
) -> None:
    async def main() -> None:
        async with Store(file) as store:
            assert (store.latest_start(), store.under_way_since()) == (None, None)
            start, entry = request_of(1, reserved_usd="0.1", cost_usd="0.1")
            await store.begin(start)
            assert store.latest_start() == store.under_way_since() == start.started_at
            attempt = replace(
                entry.attempts[0], cost_status="estimated", observed_usd=Decimal("0.02")
            )
            await store.close(replace(entry, attempts=(attempt,)))
            assert (store.latest_start(), store.under_way_since()) == (start.started_at, None)
            await store.confirm(start.attempt_id, Decimal("0.02"), source="observed")
            (kept,) = store.entries()
            assert (kept.cost_status, kept.cost_usd) == ("observed", Decimal("0.02"))
            (total,) = store.groups("model").values()
            assert total.estimated_pico == total.cost_pico == 20_000_000_000
            assert store.unconfirmed() == []
            # evidence that comes later counts
            await store.confirm(start.attempt_id, Decimal("0.03"), source="total of 2026-11-30")
            (kept,) = store.entries()
            assert (kept.cost_status, kept.attempts[0].cost_source) == (
                "settled",
                "total of 2026-11-30",
            )
            assert store.verify().ok

    asyncio.run(main())
