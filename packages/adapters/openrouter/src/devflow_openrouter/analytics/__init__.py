"""What was spent, how it went, and what to do about it: folds over the ledger."""

from devflow_openrouter.analytics.cache_simulation import Turn
from devflow_openrouter.analytics.cost_tracker import CostTracker
from devflow_openrouter.analytics.html_page import to_html
from devflow_openrouter.analytics.reconciler import Reconciler
from devflow_openrouter.analytics.reconciliation import Reconciliation
from devflow_openrouter.analytics.report import Recommendation, Report
from devflow_openrouter.analytics.reporter import Reporter
from devflow_openrouter.analytics.repricing import WhatIf, turns_of, whatif
from devflow_openrouter.analytics.savings import Baseline, Savings
from devflow_openrouter.analytics.text_formats import Table, to_csv, to_markdown, to_table
from devflow_openrouter.analytics.usage_tracker import UsageTracker

__all__ = [
    "Baseline",
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
