"""The one place where concrete classes meet: from settings to a gateway over a durable ledger."""

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
from devflow_openrouter.gateway import build_router
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
SETTINGS_BUDGET_ID = "settings"
"""The id of the budget that `cost_budget_usd` sets; it stays until it is removed by that id."""


def make_store(settings: Settings, *on_alert: AlertHook) -> Store:
    """The durable store of the settings; enter it to write, read it as it is.

    Args:
        settings: all of them.
        on_alert: who is told of alerts besides the log and those that the settings name.

    Raises:
        ConfigurationError: the data folder is another user's, or others may write into it.
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
    """What reports are made from; a ledger that was never written is empty."""
    if not has_ledger(settings):
        return EntriesReader(tuple)
    return make_store(settings)


def has_ledger(settings: Settings) -> bool:
    """Whether anything was ever booked here, also where the file is gone."""
    return settings.ledger_url is not None or is_ledger_known(settings.data_dir / LEDGER_FILE)


def make_alert_hooks(settings: Settings) -> tuple[AlertHook, ...]:
    """Who is told when a budget passes a threshold or a cost cannot be, besides the log.

    Raises:
        ConfigurationError: a webhook without a secret; its receiver could not tell who calls.
    """
    hooks: list[AlertHook] = []
    url, secret = settings.budget_alert_webhook_url, settings.budget_alert_webhook_secret
    if url is not None:
        hooks.append(WebhookAlerts(url, secret.get_secret_value() if secret else ""))
    if settings.budget_alert_command:
        hooks.append(CommandAlerts(settings.budget_alert_command, copy_child_environment()))
    return tuple(hooks)


def open_catalogue(settings: Settings) -> LiveCatalogue:
    """The models as they were last fetched, else as shipped, with the user's corrections.

    Those of the other configured providers are among them. A gateway has its own list:
    `gateway.catalogue`.

    Raises:
        ConfigurationError: the list that is kept is damaged, or a setting is wrong.
    """
    return openrouter_catalogue.open_catalogue(settings, rows=list_model_rows(settings))


async def refresh_catalogue(settings: Settings) -> tuple[Catalogue, tuple[CatalogueChange, ...]]:
    """Fetch the provider's list, keep it in the data folder; the list, and what is new in it.

    Raises:
        DevFlowError: the provider does not answer, or with something else; nothing is kept then.
        ConfigurationError: it cannot be kept.
    """
    catalogue = openrouter_catalogue.open_catalogue(
        settings, rows=list_model_rows(settings), tolerates_damage=True
    )
    async with OpenRouterGateway(settings, catalogue=catalogue) as gateway:
        changes = await gateway.refresh_catalogue()
    return catalogue.current, changes


def make_report(
    settings: Settings,
    by: GroupBy = "model",
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    with_days: bool = False,
) -> Report:
    """The report over the settings' ledger; the HTML page also shows the days."""
    reporter = Reporter(
        make_ledger_reader(settings),
        price_of=open_catalogue(settings).price_of,
        baseline_model=settings.baseline_model,
    )
    return reporter.report(by, since=since, until=until, with_days=with_days)


def make_router(settings: Settings) -> Router:
    """A router over the known list of models, with the names and weights of the settings."""
    return build_router(settings, open_catalogue(settings))


def make_executor(gateway: AsyncGateway, upstream: Upstream) -> Executor:
    """The policies of every call around another innermost call, with the gateway's keys."""
    return build_executor(gateway.settings, upstream, gateway.keys)


@asynccontextmanager
async def open_gateway(
    settings: Settings, *, folder: Path | None = None
) -> AsyncGenerator[AsyncGateway]:
    """A gateway whose ledger, budgets and views are those of the settings.

    Args:
        settings: all of them.
        folder: whose git repository labels the requests that name no project; None is the working
            directory.

    Raises:
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
    """A gateway over an open store, its budget set and its views rebuilt from what is there.

    Args:
        book: the store; closed by whoever opened it.
        settings: all of them.
        ledger: one more view, fed every entry.
        label: completes the labels of each request; None leaves them as they are.
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
    """Compare the ledger with OpenRouter's own books, and settle what they know better.

    Args:
        settings: also a management key, where there is one.
        days: how many completed days to close.
        patience_s: how old a row must be before "not found" is taken for an answer.

    Raises:
        UpstreamError: OpenRouter does not answer, or refuses a key.
        StoreError: the ledger cannot be read or written.
    """
    async with make_store(settings) as book, OpenRouterGateway(settings, book=book) as gateway:
        return await make_reconciler(book, gateway, patience_s=patience_s).reconcile(days)


def make_reconciler(book: Store, gateway: AsyncGateway, *, patience_s: float = 900.0) -> Reconciler:
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
    """Give the ledger the monthly budget of the settings, if they have one.

    A folder that is not trusted only lowers it: a budget that is stricter stays.
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
