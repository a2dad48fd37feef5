"""Wires concrete classes together, from settings to a gateway over a durable ledger."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from devflow_analytics import Reconciler, Reconciliation, Report, Reporter
from devflow_core.attribution import Attribution
from devflow_core.dimensions import GroupBy
from devflow_core.errors import DevFlowError
from devflow_core.ledger import Ledger
from devflow_core.repository import FolderLabels
from devflow_core.settings import Settings
from devflow_openrouter import OpenRouterGateway
from devflow_openrouter.account import OpenRouterAccount
from devflow_openrouter.client.auth import KEYS_PAGE as KEYS_PAGE
from devflow_openrouter.models import catalogue as openrouter_catalogue
from devflow_openrouter.parts import build_router, read_checks
from devflow_routing import CatalogueChange, LiveCatalogue, Router
from devflow_store import (
    Store,
    has_ledger,
    make_alert_hooks,
    make_ledger_reader,
    make_store,
)
from devflow_store.opening import LEDGER_FILE, SETTINGS_BUDGET_ID

from devflow_gateway.async_gateway import AsyncGateway
from devflow_gateway.providers.table import list_model_rows

__all__ = [
    "LEDGER_FILE",
    "SETTINGS_BUDGET_ID",
    "AsyncGateway",
    "ask_about_keys",
    "build_gateway",
    "check_keys",
    "has_ledger",
    "make_alert_hooks",
    "make_ledger_reader",
    "make_reconciler",
    "make_report",
    "make_router",
    "make_store",
    "open_catalogue",
    "open_gateway",
    "read_checks",
    "reconcile",
    "refresh_catalogue",
]


def open_catalogue(settings: Settings) -> LiveCatalogue:
    """Return the models last fetched, or the shipped ones, with the user's corrections.

    The models of other configured providers are included. A gateway has its own list:
    `gateway.catalogue`.

    Raises:
        ConfigurationError: the saved list is damaged, or a setting is wrong.
    """
    return openrouter_catalogue.open_catalogue(settings, rows=list_model_rows(settings))


async def refresh_catalogue(
    settings: Settings,
) -> tuple[LiveCatalogue, tuple[CatalogueChange, ...]]:
    """Fetch the provider's list and save it in the data folder; return it with its changes.

    With a key, the scores of models are fetched as well: `evidence` of what is returned says so.

    Raises:
        DevFlowError: the provider does not answer, or sends something else; nothing is saved.
        ConfigurationError: a setting is wrong, or the list cannot be saved.
    """
    catalogue = openrouter_catalogue.open_catalogue(
        settings, rows=list_model_rows(settings), tolerates_damage=True
    )
    unbooked = OpenRouterGateway(settings, ledger="memory", catalogue=catalogue)
    async with unbooked as gateway:
        changes = await gateway.refresh_catalogue()
    return catalogue, changes


async def check_keys(settings: Settings) -> None:
    """Check that the provider accepts the keys of the settings; this costs nothing.

    Raises:
        UpstreamError: the provider refuses a key, or does not answer.
    """
    async with OpenRouterGateway(settings, ledger="memory") as gateway:
        await gateway.learn_limits()


async def ask_about_keys(settings: Settings) -> Mapping[str, Mapping[str, Any] | DevFlowError]:
    """Ask OpenRouter what it knows of each key of the settings; this costs nothing.

    Returns:
        What OpenRouter answers, by the key's id, as the fields of `GET /key`; the error where it
        refuses the key, or does not answer.

    Raises:
        ConfigurationError: a setting is wrong, or the stored key cannot be read.
    """
    answers: dict[str, Mapping[str, Any] | DevFlowError] = {}
    async with OpenRouterGateway(settings, ledger="memory") as gateway:
        for key in gateway.keys.keys:
            try:
                data = (await gateway.api.key_status(key)).get("data")
            except DevFlowError as error:
                answers[key.id] = error
            else:
                answers[key.id] = data if isinstance(data, Mapping) else {}
    return answers


def make_report(
    settings: Settings,
    by: GroupBy | tuple[GroupBy, ...] = "model",
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    with_days: bool = False,
) -> Report:
    """Read the settings' ledger, and return the report over it.

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
        ConfigurationError: the saved list of models is damaged, a setting is wrong, or the ledger
            holds calls to another upstream.
        StoreError: the ledger cannot be opened.
    """
    label = FolderLabels(folder or Path.cwd()).apply
    async with AsyncGateway(settings, label=label) as gateway:
        yield gateway


def build_gateway(
    book: Store,
    settings: Settings,
    ledger: Ledger | None = None,
    *,
    label: Callable[[Attribution], Attribution] | None = None,
) -> AsyncGateway:
    """Return a gateway over an open store, with the list of models in the data folder; enter it.

    Args:
        book: the store; its opener closes it.
        settings: all settings.
        ledger: another view, which receives every entry from now on.
        label: completes the labels of each request; None: they stay as given.

    Raises:
        ConfigurationError: the saved list of models is damaged, or a setting is wrong.
    """
    catalogue = open_catalogue(settings)
    return AsyncGateway(settings, book=book, ledger=ledger, catalogue=catalogue, label=label)


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
        ConfigurationError: the ledger holds calls to another upstream.
        StoreError: the ledger cannot be read or written.
    """
    async with make_store(settings) as book, build_gateway(book, settings) as gateway:
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
