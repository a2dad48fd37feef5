"""Computes from the ledger what was spent, how it went, and what to improve."""

from devflow_analytics.cache_simulation import Turn
from devflow_analytics.formats.text import Table, to_csv, to_markdown, to_table
from devflow_analytics.html.page import Chapter, to_html
from devflow_analytics.reconciliation.reconciler import Reconciler
from devflow_analytics.reconciliation.settlement import Reconciliation
from devflow_analytics.report import Recommendation, Report
from devflow_analytics.reporter import Reporter
from devflow_analytics.repricing import WhatIf, turns_of, whatif
from devflow_analytics.savings import Baseline, Savings
from devflow_analytics.trackers.cost import CostTracker
from devflow_analytics.trackers.usage import UsageTracker

__all__ = [
    "Baseline",
    "Chapter",
    "CostTracker",
    "Recommendation",
    "Reconciler",
    "Reconciliation",
    "Report",
    "Reporter",
    "Savings",
    "Table",
    "Turn",
    "UsageTracker",
    "WhatIf",
    "to_csv",
    "to_html",
    "to_markdown",
    "to_table",
    "turns_of",
    "whatif",
]
