"""The one place where concrete classes meet: from settings to a gateway over a durable ledger."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import orjson
from devflow_core.errors import UnknownModel
from devflow_core.ledger import Tee, replay
from devflow_core.summary import EntriesReader, LedgerReader
from devflow_openrouter import OpenRouterGateway
from devflow_openrouter.account import OpenRouterAccount
from devflow_openrouter.analytics import Reconciler, Reconciliation
from devflow_openrouter.gateway import router_for
from devflow_openrouter.models import Catalogue
from devflow_store import AlertHook, Budget, CommandAlerts, Store, WebhookAlerts

if TYPE_CHECKING:
    from devflow_core.ports import Ledger
    from devflow_core.settings import Settings
    from devflow_core.usage import Price

LOOK_BACK = timedelta(days=1)
"""How far back performance and warm sessions are rebuilt at the start; both fade sooner."""
CATALOGUE_FILE = "models.json"
LEDGER_FILE = "ledger.db"
SETTINGS_BUDGET = "settings"
"""The id of the budget that `cost_budget_usd` sets; it stays until it is removed by that id."""


def store(settings: Settings) -> Store:
    """The durable store of the settings; enter it to write, read it as it is."""
    days = settings.retention_days
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Store(
        settings.ledger_url or settings.data_dir / LEDGER_FILE,
        on_alert=alert_hooks(settings),
        data_dir=settings.data_dir,
        retention=None if days is None else timedelta(days=days),
    )


def ledger_reader(settings: Settings) -> LedgerReader:
    """What reports are made from; a ledger that was never written is empty."""
    if not has_ledger(settings):
        return EntriesReader(tuple)
    return store(settings)


def has_ledger(settings: Settings) -> bool:
    """Whether anything was ever booked here."""
    return settings.ledger_url is not None or (settings.data_dir / LEDGER_FILE).exists()


def alert_hooks(settings: Settings) -> tuple[AlertHook, ...]:
    """Who is told when a budget passes a threshold, besides the log.

    Raises:
        ConfigurationError: a webhook without a secret; its receiver could not tell who calls.
    """
    hooks: list[AlertHook] = []
    url, secret = settings.budget_alert_webhook_url, settings.budget_alert_webhook_secret
    if url is not None:
        hooks.append(WebhookAlerts(url, secret.get_secret_value() if secret else ""))
    if settings.budget_alert_command:
        hooks.append(CommandAlerts(settings.budget_alert_command))
    return tuple(hooks)


def catalogue(settings: Settings) -> Catalogue:
    """OpenRouter's list as it was last fetched, else as shipped, with the user's corrections."""
    file = settings.data_dir / CATALOGUE_FILE
    found = Catalogue.shipped()
    if file.is_file():
        fetched = orjson.loads(file.read_bytes())
        found = Catalogue.from_openrouter(
            fetched["body"], fetched_at=datetime.fromisoformat(fetched["fetched_at"])
        )
    return found.with_overrides(settings.models) if settings.models else found


def price_list(known: Catalogue) -> Callable[[str], Price | None]:
    """Prices by any name of a model: OpenRouter's id or Claude Code's."""

    def price_of(model: str) -> Price | None:
        try:
            return known.find(model).price
        except UnknownModel:
            return None

    return price_of


@asynccontextmanager
async def open_gateway(settings: Settings) -> AsyncGenerator[OpenRouterGateway]:
    """A gateway whose ledger, budgets and views are those of the settings.

    Raises:
        StoreError: the ledger cannot be opened.
    """
    async with store(settings) as book, await gateway_over(book, settings) as gateway:
        yield gateway


async def gateway_over(
    book: Store, settings: Settings, ledger: Ledger | None = None
) -> OpenRouterGateway:
    """A gateway over an open store, its budget set and its views rebuilt from what is there.

    Args:
        book: the store; closed by whoever opened it.
        settings: all of them.
        ledger: one more view, fed every entry.
    """
    await _set_budget(settings, book)
    router = router_for(settings, catalogue(settings))
    views = Tee(router.performance, router.sessions)
    replay(book.entries(since=datetime.now(UTC) - LOOK_BACK), views)
    return OpenRouterGateway(settings, router=router, book=book, ledger=ledger)


async def reconcile(
    settings: Settings, *, days: int = 7, patience_s: float = 900.0
) -> Reconciliation:
    """Compare the ledger with OpenRouter's own books, and settle what they know better.

    Args:
        settings: also a management key, where there is one.
        days: how many completed days to close.
        patience_s: how old a row must be before "not found" is taken for an answer.

    Raises:
        UpstreamError: OpenRouter does not answer, or refuses a key.
        StoreError: the ledger cannot be read or written.
    """
    async with store(settings) as book, OpenRouterGateway(settings, book=book) as gateway:
        return await reconciler(book, gateway, patience_s=patience_s).reconcile(days)


def reconciler(book: Store, gateway: OpenRouterGateway, *, patience_s: float = 900.0) -> Reconciler:
    """What brings this book into agreement with OpenRouter's."""
    settings = gateway.settings
    secret = settings.management_key
    account = OpenRouterAccount(
        gateway.api,
        settings.server_keys(),
        management_key=secret.get_secret_value() if secret else None,
    )
    return Reconciler(book, account, patience_s=patience_s)


async def _set_budget(settings: Settings, book: Store) -> None:
    """Give the ledger the monthly budget of the settings, if they have one."""
    if settings.cost_budget_usd is None:
        return
    await book.budgets.set(
        Budget(
            id=SETTINGS_BUDGET,
            scope="global",
            window="month",
            limit_usd=settings.cost_budget_usd,
            timezone=settings.budget_time_zone,
            thresholds=settings.budget_alert_at,
            allow_unknown_price=settings.allow_unknown_price,
        )
    )
