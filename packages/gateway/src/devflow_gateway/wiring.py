"""Wires concrete classes together, from settings to a gateway over a durable ledger."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from devflow_analytics import Reconciler, Reconciliation, Report, Reporter
from devflow_core.attribution import Attribution
from devflow_core.dimensions import GroupBy
from devflow_core.environment import copy_child_environment
from devflow_core.ledger import Ledger, replay
from devflow_core.ports import Executor, Upstream
from devflow_core.private_files import ensure_private_folder
from devflow_core.repository import FolderLabels
from devflow_core.settings import Settings
from devflow_core.summary import EntriesReader, LedgerReader
from devflow_openrouter import OpenRouterGateway
from devflow_openrouter.account import OpenRouterAccount
from devflow_openrouter.client.auth import KEYS_PAGE as KEYS_PAGE
from devflow_openrouter.gateway import build_memory_book, build_router
from devflow_openrouter.models import catalogue as openrouter_catalogue
from devflow_routing import Catalogue, CatalogueChange, LiveCatalogue, Router
from devflow_store import AlertHook, Budget, CommandAlerts, Store, WebhookAlerts, is_ledger_known
from devflow_upstream.stack import build_executor

from devflow_gateway.providers.table import connect_providers, list_model_rows

AsyncGateway = OpenRouterGateway
"""The gateway over every configured provider."""
LOOKBACK = timedelta(days=1)
"""How far back performance and warm sessions are rebuilt at the start; both fade sooner."""
LEDGER_FILE = "ledger.db"
"""The ledger's name in the data folder, unless `ledger_url` names another."""
SETTINGS_BUDGET_ID = "settings"
"""The id of the budget that `cost_budget_usd` sets; it stays until it is removed by that id."""


def make_store(settings: Settings, *on_alert: AlertHook) -> Store:
    """Return the durable store of the settings; enter it to write, or read without entering.

    Args:
        settings: all settings.
        on_alert: called with alerts, besides the log and the hooks of the settings.

    Raises:
        ConfigurationError: the data folder is not private, or a setting of the ledger or of its
            alerts is wrong.
    """
    days = settings.retention_days
    ensure_private_folder(settings.data_dir)
    return Store(
        settings.ledger_url or settings.data_dir / LEDGER_FILE,
        on_alert=(*make_alert_hooks(settings), *on_alert),
        data_dir=settings.data_dir,
        retention=None if days is None else timedelta(days=days),
    )


def make_ledger_reader(settings: Settings) -> LedgerReader:
    """Return the reader of the ledger for reports; a ledger that was never written is empty.

    Raises:
        ConfigurationError: the data folder is not private, or a setting of the ledger is wrong.
    """
    if not has_ledger(settings):
        return EntriesReader(tuple)
    return make_store(settings)


def has_ledger(settings: Settings) -> bool:
    """Return whether anything was ever booked, even if the file is gone; True for any URL."""
    return settings.ledger_url is not None or is_ledger_known(settings.data_dir / LEDGER_FILE)


def make_alert_hooks(settings: Settings) -> tuple[AlertHook, ...]:
    """Return the hooks for budget thresholds and impossible costs, besides the log.

    Raises:
        ConfigurationError: a webhook has no secret, so its receiver could not verify the sender; or
            its URL or the command is not allowed.
    """
    hooks: list[AlertHook] = []
    url, secret = settings.budget_alert_webhook_url, settings.budget_alert_webhook_secret
    if url is not None:
        hooks.append(WebhookAlerts(url, secret.get_secret_value() if secret else ""))
    if settings.budget_alert_command:
        hooks.append(CommandAlerts(settings.budget_alert_command, copy_child_environment()))
    return tuple(hooks)


def open_catalogue(settings: Settings) -> LiveCatalogue:
    """Return the models last fetched, or the shipped ones, with the user's corrections.

    The models of other configured providers are included. A gateway has its own list:
    `gateway.catalogue`.

    Raises:
        ConfigurationError: the saved list is damaged, or a setting is wrong.
    """
    return openrouter_catalogue.open_catalogue(settings, rows=list_model_rows(settings))


async def refresh_catalogue(settings: Settings) -> tuple[Catalogue, tuple[CatalogueChange, ...]]:
    """Fetch the provider's list and save it in the data folder; return it with its changes.

    Raises:
        DevFlowError: the provider does not answer, or sends something else; nothing is saved.
        ConfigurationError: the list cannot be saved.
    """
    catalogue = openrouter_catalogue.open_catalogue(
        settings, rows=list_model_rows(settings), tolerates_damage=True
    )
    async with OpenRouterGateway(settings, catalogue=catalogue) as gateway:
        changes = await gateway.refresh_catalogue()
    return catalogue.current, changes


async def check_keys(settings: Settings) -> None:
    """Ask the provider whether it knows the keys of the settings; this costs nothing.

    Raises:
        UpstreamError: it does not know one, or does not answer.
    """
    book = build_memory_book(settings)
    async with OpenRouterGateway(settings, book=book) as gateway:
        await gateway.learn_limits()


def make_report(
    settings: Settings,
    by: GroupBy | tuple[GroupBy, ...] = "model",
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    with_days: bool = False,
) -> Report:
    """Return the report over the settings' ledger, which this reads.

    Args:
        settings: all settings.
        by: what the rows are grouped by: a dimension, or an outer and an inner one.
        since: inclusive, UTC; None is from the beginning.
        until: exclusive, UTC; None is until now.
        with_days: whether to add up each day as well, for the HTML page.

    Raises:
        InvalidRequest: `by` names no dimension, or not one or two different ones.
        ConfigurationError: a setting is wrong, or the saved list of models is damaged.
        StoreError: the ledger cannot be read.
    """
    reporter = Reporter(
        make_ledger_reader(settings),
        price_of=open_catalogue(settings).price_of,
        baseline_model=settings.baseline_model,
    )
    return reporter.report(by, since=since, until=until, with_days=with_days)


def make_router(settings: Settings) -> Router:
    """Return a router over the known list of models, with the names and weights of the settings.

    Raises:
        ConfigurationError: the saved list is damaged, or a setting is wrong.
    """
    return build_router(settings, open_catalogue(settings))


def make_executor(gateway: AsyncGateway, upstream: Upstream) -> Executor:
    """Return the stack of policies around another innermost upstream, with the gateway's keys."""
    return build_executor(gateway.settings, upstream, gateway.keys)


@asynccontextmanager
async def open_gateway(
    settings: Settings, *, folder: Path | None = None
) -> AsyncGenerator[AsyncGateway]:
    """Yield a gateway with the ledger, budgets and views of the settings; close them at the end.

    Args:
        settings: all settings.
        folder: its git repository labels requests that name no project; None: the working
            directory.

    Raises:
        ConfigurationError: the saved list of models is damaged, or a setting is wrong.
        StoreError: the ledger cannot be opened.
    """
    label = FolderLabels(folder or Path.cwd()).apply
    async with (
        make_store(settings) as book,
        await build_gateway(book, settings, label=label) as gateway,
    ):
        yield gateway


async def build_gateway(
    book: Store,
    settings: Settings,
    ledger: Ledger | None = None,
    *,
    label: Callable[[Attribution], Attribution] | None = None,
) -> AsyncGateway:
    """Return a gateway over an open store, with its budget set and its views rebuilt; enter it.

    Args:
        book: the store; its opener closes it.
        settings: all settings.
        ledger: another view, which receives every entry from now on.
        label: completes the labels of each request; None: they stay as given.

    Raises:
        ConfigurationError: the saved list of models is damaged, or a setting is wrong.
        StoreError: the ledger cannot be read or written.
    """
    await _set_budget(settings, book)
    catalogue = open_catalogue(settings)
    gateway = OpenRouterGateway(
        settings,
        book=book,
        ledger=ledger,
        catalogue=catalogue,
        providers=connect_providers(settings),
        label=label,
    )
    replay(book.entries(since=datetime.now(UTC) - LOOKBACK), gateway.router)
    return gateway


async def reconcile(
    settings: Settings, *, days: int = 7, patience_s: float = 900.0
) -> Reconciliation:
    """Compare the ledger with OpenRouter's accounts, and settle open rows by them.

    Args:
        settings: including a management key, if there is one.
        days: how many completed days to close, 0 to 30.
        patience_s: how old a row must be, in seconds, before "not found" is accepted as an answer.

    Raises:
        UpstreamError: OpenRouter does not answer, or refuses a key.
        StoreError: the ledger cannot be read or written.
    """
    async with make_store(settings) as book, OpenRouterGateway(settings, book=book) as gateway:
        return await make_reconciler(book, gateway, patience_s=patience_s).reconcile(days)


def make_reconciler(book: Store, gateway: AsyncGateway, *, patience_s: float = 900.0) -> Reconciler:
    """Return the reconciler of this book with OpenRouter's accounts; it closes neither.

    Args:
        book: the open store.
        gateway: asks OpenRouter, with the keys of its settings.
        patience_s: how old a row must be, in seconds, before "not found" is accepted as an answer.
    """
    settings = gateway.settings
    secret = settings.management_key
    account = OpenRouterAccount(
        gateway.api,
        settings.server_keys(),
        management_key=secret.get_secret_value() if secret else None,
    )
    return Reconciler(book, account, patience_s=patience_s)


async def _set_budget(settings: Settings, book: Store) -> None:
    """Set the monthly budget of the settings in the ledger, if they have one.

    A folder that is not trusted may only lower it: a stricter budget stays.
    """
    if settings.cost_budget_usd is None:
        return
    if settings.is_limited_by_folder:
        known = {state.budget.id: state.budget.limit_usd for state in book.budget_states()}
        if known.get(SETTINGS_BUDGET_ID, settings.cost_budget_usd) < settings.cost_budget_usd:
            return
    await book.budgets.set(
        Budget(
            id=SETTINGS_BUDGET_ID,
            scope="global",
            window="month",
            limit_usd=settings.cost_budget_usd,
            timezone=settings.budget_time_zone,
            thresholds=settings.budget_alert_at,
            allow_unknown_price=settings.allow_unknown_price,
        )
    )
