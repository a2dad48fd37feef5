"""Opens the store that the settings describe: its place, its alerts, and its budget."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from devflow_core.environment import copy_child_environment
from devflow_core.errors import ConfigurationError
from devflow_core.private_files import ensure_private_folder
from devflow_core.settings import Settings
from devflow_core.summary import EntriesReader, LedgerReader

from devflow_store.budgets.alerts import AlertHook, CommandAlerts, WebhookAlerts
from devflow_store.budgets.budget import Budget
from devflow_store.integrity.presence import is_ledger_known
from devflow_store.origin_note import make_origin
from devflow_store.store import Store

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
        ConfigurationError: the settings name no data folder, the folder is not private, or a
            setting of the ledger or of its alerts is wrong.
        OSError: the data folder cannot be created.
    """
    if settings.data_dir == Path():
        raise ConfigurationError(
            "These settings name no data folder, so there is no ledger to open. Use"
            " Settings.load(), which finds the user's, or set data_dir; a gateway that writes"
            ' nothing takes ledger="memory".'
        )
    days = settings.retention_days
    ensure_private_folder(settings.data_dir)
    return Store(
        settings.ledger_url or settings.data_dir / LEDGER_FILE,
        on_alert=(*make_alert_hooks(settings), *on_alert),
        data_dir=settings.data_dir,
        retention=None if days is None else timedelta(days=days),
        origin=make_origin(settings),
    )


def make_ledger_reader(settings: Settings) -> LedgerReader:
    """Return the reader of the ledger for reports; a ledger that was never written is empty.

    Raises:
        ConfigurationError, OSError: as `make_store`, if there is a ledger.
    """
    if not has_ledger(settings):
        return EntriesReader(tuple)
    return make_store(settings)


def has_ledger(settings: Settings) -> bool:
    """Return whether there is a ledger, or was one with rows; True for any `ledger_url`."""
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


async def set_settings_budget(settings: Settings, book: Store) -> None:
    """Set the monthly budget of the settings in an open store, if they have one.

    A folder that is not trusted may only lower it: a stricter budget stays.

    Raises:
        StoreError: the ledger cannot be read or written.
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
