"""The alert rules speak of metrics that a running gateway has, with the promised bounds."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from devflow_core.testing import an_attempt, an_entry
from devflow_sandbox.threaded import ThreadedSandbox
from devflow_server.operations.metrics import Metrics
from devflow_store import Budget, BudgetState
from integration.served import serve

RULES = Path(__file__).parents[2] / "deploy" / "prometheus-alerts.yaml"
MODEL = "anthropic/claude-haiku-4.5"
BOUNDS = {
    "DevflowServerErrors": ('status=~"5.."', "> 0.01"),
    "DevflowSlowReplies": ("devflow_http_request_seconds_sum", "> 3"),
    "DevflowManyRetries": ("devflow_retries_total", "> 0.2"),
    "DevflowLedgerNotWritable": ("devflow_ledger_up", "== 0"),
    "DevflowBudgetNearlySpent": ("devflow_budget_used_ratio", "> 0.9"),
}


def read_rules() -> list[dict[str, Any]]:
    document = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def test_every_rule_has_its_bound_and_says_what_to_do() -> None:
    rules = {rule["alert"]: rule for rule in read_rules()}
    assert set(rules) == set(BOUNDS)
    for name, (metric, bound) in BOUNDS.items():
        expression = rules[name]["expr"]
        assert metric in expression
        assert expression.endswith(bound)
        assert expression.count("(") == expression.count(")")
        assert rules[name]["labels"]["severity"] in ("warning", "critical")
        assert set(rules[name]["annotations"]) == {"summary", "description"}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_takes_the_rules() -> None:
    done = subprocess.run(
        ["promtool", "check", "rules", str(RULES)], check=False, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_every_metric_and_label_of_the_rules_is_in_a_running_gateway(tmp_path: Path) -> None:
    with (
        ThreadedSandbox() as sandbox,
        serve(
            tmp_path,
            OPENROUTER_BASE_URL=sandbox.base_url,
            OPENROUTER_API_KEY=sandbox.api_key,
            OPENROUTER_COST_BUDGET_USD="5",
        ) as served,
    ):
        key = served.first_key
        chat = {"model": MODEL, "max_tokens": 8, "messages": [{"role": "user", "content": "x"}]}
        assert served.ask("POST", "/v1/chat/completions", chat, key=key).status == 200
        text = ""
        for _ in range(5_000):  # the budgets are read beside the requests
            text = served.ask("GET", "/metrics", key=key).body.decode()
            if "devflow_budget_used_ratio{" in text:
                break
    samples = re.findall(r"^(devflow_\w+)(?:\{(.*)\})? \S+$", text, re.MULTILINE)
    labels = {name: set(re.findall(r'(\w+)="', found)) for name, found in samples}
    for rule in read_rules():
        names = re.findall(r"devflow_\w+", rule["expr"])
        assert names
        assert set(names) <= set(labels), rule["alert"]
        wanted = set(re.findall(r"(\w+)=~?\"", rule["expr"]))
        wanted |= {
            one.strip()
            for found in re.findall(r"by \(([^)]*)\)", rule["expr"])
            for one in found.split(",")
        } - {"instance"}
        assert all(wanted <= labels[name] for name in names if wanted), rule["alert"]
    assert 'devflow_budget_used_ratio{budget="settings"}' in text


def test_retries_and_budgets_are_counted() -> None:
    metrics = Metrics()
    first = an_attempt(outcome="failed")
    metrics.record(an_entry(attempts=(first, an_attempt(number=2), an_attempt(number=3))))
    metrics.record(an_entry(attempts=(first,)))
    now = datetime.now(UTC)
    budget = Budget(id="b", scope="session", value="*", window="day", limit_usd=Decimal(10))
    states = [
        BudgetState(
            budget=budget,
            subject=one,
            spent_usd=Decimal(spent),
            reserved_usd=Decimal(9),
            window_start=now,
            window_end=now,
        )
        for one, spent in (("s1", 3), ("s2", 7), ("s3", 1))
    ]
    metrics.set_budgets(states)
    text = metrics.render().decode()
    assert "devflow_retries_total 2.0" in text
    assert 'devflow_budget_used_ratio{budget="b"} 0.7' in text
    metrics.set_budgets([])
    assert "devflow_budget_used_ratio{" not in metrics.render().decode()
