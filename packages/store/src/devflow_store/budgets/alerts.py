"""Sends alerts about budget thresholds and impossible costs: to the log, a webhook, a command."""

from __future__ import annotations

import asyncio
import hmac
import shutil
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path

import orjson
import structlog
from devflow_core.addresses import parse_confidential_address
from devflow_core.errors import ConfigurationError
from devflow_core.processes import end_with_us
from devflow_core.usage import usd_text

from devflow_store.budgets.budget import BudgetAlert
from devflow_store.entries.doubts import CostDoubtAlert

Alert = BudgetAlert | CostDoubtAlert
"""The argument of every hook; `alert_json` gives both kinds the same form."""
AlertHook = Callable[[Alert], Awaitable[None]]
"""Called once the spending is durable, and cancelled after `TIMEOUT_S`; its exceptions are logged
and reach no request."""

SIGNATURE_HEADER = "X-DevFlow-Signature"
"""The header that carries the signature.

Its value is `t=<seconds since 1970>,v1=<hex HMAC-SHA-256 of "<t>." and the body>`.
"""
TIMEOUT_S = 10.0
"""Seconds that one hook may take, and that `AlertDispatcher.drain` waits."""
_CANCEL_S = 2.0
"""Seconds that a hook gets to end after it was cancelled, before the next one is called."""
_log = structlog.get_logger("devflow.budget")


def alert_json(alert: Alert) -> bytes:
    """Return the alert as a JSON object; amounts are decimal text in USD.

    Its `event` is `budget_threshold`, `budget_overrun` or `cost_doubt`.
    """
    if isinstance(alert, CostDoubtAlert):
        return _doubt_json(alert)
    budget = alert.budget
    return orjson.dumps(
        {
            "event": "budget_overrun" if alert.is_overrun else "budget_threshold",
            "budget": budget.id,
            "scope": budget.scope,
            "subject": alert.subject,
            "window": budget.window,
            "window_start": alert.window_start.isoformat(),
            "threshold": alert.threshold,
            "spent_usd": usd_text(alert.spent_usd),
            "limit_usd": usd_text(budget.limit_usd),
        }
    )


def _doubt_json(alert: CostDoubtAlert) -> bytes:
    reserved_usd = alert.reserved_usd
    return orjson.dumps(
        {
            "event": "cost_doubt",
            "doubt": alert.doubt,
            "entry": alert.entry_id,
            "attempt": alert.attempt_id,
            "model": alert.model,
            "generation": alert.generation_id,
            "cost_status": alert.cost_status,
            "booked_usd": usd_text(alert.booked_usd),
            "reserved_usd": None if reserved_usd is None else usd_text(reserved_usd),
        }
    )


class LogAlerts:
    """Writes a warning to the log."""

    async def __call__(self, alert: Alert) -> None:
        """Log the alert."""
        fields = orjson.loads(alert_json(alert))
        _log.warning(fields.pop("event"), **fields)


class WebhookAlerts:
    """Posts the alert as JSON, signed so that the receiver can recognise a forgery.

    Redirects are not followed.

    Args:
        url: an https URL; http only to this machine.
        secret: shared with the receiver; never empty.

    Raises:
        ConfigurationError: there is no secret, or the URL would send alerts unencrypted.
    """

    def __init__(self, url: str, secret: str) -> None:
        if not secret:
            raise ConfigurationError(
                "A budget webhook needs a secret: set DEVFLOW_BUDGET_ALERT_WEBHOOK_SECRET."
            )
        try:
            self._parts = parse_confidential_address(url)
        except ValueError:
            raise ConfigurationError(
                "The budget webhook has to be an https URL (http only to this machine)."
            ) from None
        self._secret = secret.encode()

    async def __call__(self, alert: Alert) -> None:
        """Post the alert.

        Raises:
            OSError: it could not be delivered, or was not answered with 2xx.
        """
        await asyncio.to_thread(self._post, alert_json(alert))

    def _post(self, body: bytes) -> None:
        parts = self._parts
        host, port = parts.hostname or "", parts.port
        connection = (
            HTTPSConnection(host, port, timeout=TIMEOUT_S, context=_make_tls_context())
            if parts.scheme == "https"
            else HTTPConnection(host, port, timeout=TIMEOUT_S)
        )
        headers = {
            "Content-Type": "application/json",
            SIGNATURE_HEADER: sign(self._secret, body, int(time.time())),
        }
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            connection.request("POST", path, body=body, headers=headers)
            status = connection.getresponse().status
        except HTTPException as error:
            raise OSError(f"no reply of HTTP: {type(error).__name__}") from error
        finally:
            connection.close()
        if not 200 <= status < 300:
            raise OSError(f"answered with {status}")


def _make_tls_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class CommandAlerts:
    """Runs a program with the alert as JSON on its standard input; no shell is involved.

    Args:
        argv: the program and its arguments. A name without `/` is looked for on the PATH.
        environment: the program's whole environment, which must not contain keys.

    Raises:
        ConfigurationError: the command is empty, or its path depends on the working directory,
            which anyone may have prepared.
    """

    def __init__(self, argv: tuple[str, ...], environment: Mapping[str, str]) -> None:
        if not argv:
            raise ConfigurationError("The budget alert command is empty.")
        if "/" in argv[0] and not Path(argv[0]).is_absolute():
            raise ConfigurationError(
                f"The budget alert command {argv[0]!r} needs its whole path, or a name on the PATH."
            )
        self._argv = argv
        self._environment = dict(environment)

    async def __call__(self, alert: Alert) -> None:
        """Run the program and wait for it.

        Raises:
            OSError: it cannot be started, failed, or took longer than the time limit.
        """
        program = shutil.which(self._argv[0], path=self._environment.get("PATH"))
        if program is None:
            raise FileNotFoundError(f"there is no program {self._argv[0]}")
        process = await asyncio.create_subprocess_exec(
            *end_with_us((program, *self._argv[1:])),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env=self._environment,
        )
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await process.communicate(alert_json(alert))
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise OSError(f"ended with status {process.returncode}")


def sign(secret: bytes, body: bytes, timestamp_s: int) -> str:
    """Return the value of `SIGNATURE_HEADER`; `timestamp_s` is in seconds since 1970."""
    mac = hmac.new(secret, f"{timestamp_s}.".encode() + body, sha256).hexdigest()
    return f"t={timestamp_s},v1={mac}"


class AlertDispatcher:
    """Passes alerts to the hooks one after another, apart from the requests that cause them.

    Args:
        hooks: called with every alert, in this order.
    """

    def __init__(self, hooks: tuple[AlertHook, ...]) -> None:
        self._hooks = hooks
        self._queue: asyncio.Queue[Alert] = asyncio.Queue()

    def enqueue(self, alerts: tuple[Alert, ...]) -> None:
        """Queue alerts for `run`, without waiting."""
        for alert in alerts:
            self._queue.put_nowait(alert)

    async def run(self) -> None:
        """Deliver queued alerts until cancelled."""
        while True:
            alert = await self._queue.get()
            try:
                for hook in self._hooks:
                    await _run_hook(hook, alert)
            finally:
                self._queue.task_done()

    async def drain(self) -> None:
        """Wait at most `TIMEOUT_S` for queued alerts to be delivered; log how many still wait."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._queue.join()
        except TimeoutError:
            _log.error("budget alerts not delivered before the end", count=self._queue.qsize())


_left: set[asyncio.Future[None]] = set()
"""Hooks that go on in spite of their cancellation; kept, since a loop may drop tasks of its own."""


def _forget(task: asyncio.Future[None]) -> None:
    _left.discard(task)
    if not task.cancelled():
        task.exception()  # it was reported as too slow; asyncio need not report it again


async def _run_hook(hook: AlertHook, alert: Alert) -> None:
    """Run a hook in a task of its own, so that its failure or slowness affects no other hook."""
    task = asyncio.ensure_future(hook(alert))
    try:
        await asyncio.wait([task], timeout=TIMEOUT_S)
    finally:
        task.cancel()
    if not task.done():
        await asyncio.wait([task], timeout=_CANCEL_S)
    if not task.done():
        _left.add(task)
        task.add_done_callback(_forget)
    is_late = not task.done() or task.cancelled()
    failure = TimeoutError("too slow") if is_late else task.exception()
    if failure is not None:
        of = alert.budget.id if isinstance(alert, BudgetAlert) else alert.attempt_id
        _log.error("budget alert not delivered", budget=of, reason=str(failure))
