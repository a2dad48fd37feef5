"""Keeps what must survive: the ledger, budgets and client keys, in SQLite or PostgreSQL."""

from devflow_store.budgets.alerts import Alert, AlertHook, CommandAlerts, LogAlerts, WebhookAlerts
from devflow_store.budgets.budget import Budget, BudgetAlert, BudgetState
from devflow_store.chain.origin import (
    LedgerOrigin,
    OtherUpstream,
    describe_upstream,
)
from devflow_store.client_keys import ClientKey
from devflow_store.engines.restore import restore
from devflow_store.entries.doubts import CostDoubtAlert
from devflow_store.entries.requests import RequestFilter, RequestPage
from devflow_store.health import LedgerHealth, LedgerState
from devflow_store.idempotency import Claim, Completed, InFlight, Mismatch, NewClaim, UnknownOutcome
from devflow_store.integrity.presence import is_ledger_known
from devflow_store.integrity.verify import ChainVerification
from devflow_store.opening import (
    has_ledger,
    make_alert_hooks,
    make_ledger_reader,
    make_store,
    set_settings_budget,
)
from devflow_store.store import Store

__all__ = [
    "Alert",
    "AlertHook",
    "Budget",
    "BudgetAlert",
    "BudgetState",
    "ChainVerification",
    "Claim",
    "ClientKey",
    "CommandAlerts",
    "Completed",
    "CostDoubtAlert",
    "InFlight",
    "LedgerHealth",
    "LedgerOrigin",
    "LedgerState",
    "LogAlerts",
    "Mismatch",
    "NewClaim",
    "OtherUpstream",
    "RequestFilter",
    "RequestPage",
    "Store",
    "UnknownOutcome",
    "WebhookAlerts",
    "describe_upstream",
    "has_ledger",
    "is_ledger_known",
    "make_alert_hooks",
    "make_ledger_reader",
    "make_store",
    "restore",
    "set_settings_budget",
]
