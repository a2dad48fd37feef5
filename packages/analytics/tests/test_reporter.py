import csv
import io
import json
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from devflow_analytics import Report, Reporter, to_csv, to_markdown, to_table
from devflow_core.attribution import Attribution
from devflow_core.dimensions import GroupBy
from devflow_core.errors import InvalidRequest
from devflow_core.ledger import LedgerEntry
from devflow_core.summary import EntriesReader
from devflow_core.testing import EPOCH, a_price, an_attempt, an_entry
from devflow_core.usage import Price, Usage

CHEAP = a_price(
    prompt=Decimal("0.0000002"),
    completion=Decimal("0.000001"),
    cache_read=None,
    cache_write=None,
)
PRICES = {"x/dear": a_price(), "y/cheap": CHEAP}
KEYS: tuple[GroupBy, ...] = (
    "model",
    "provider",
    "task",
    "session",
    "project",
    "branch",
    "agent",
    "key",
    "day",
)


def price_of(model: str) -> Price | None:
    return PRICES.get(model)


def report_of(
    entries: Sequence[LedgerEntry],
    by: GroupBy | tuple[GroupBy, ...] = "model",
    *,
    baseline: str | None = "x/dear",
    with_days: bool = False,
) -> Report:
    reporter = Reporter(
        EntriesReader(lambda: entries),
        price_of=price_of,
        baseline_model=baseline,
        now=lambda: EPOCH + timedelta(days=2),
    )
    return reporter.report(by, with_days=with_days)


def entry(model: str, cost: str, usage: Usage | None = None, **changes: object) -> LedgerEntry:
    attempt = an_attempt(
        model=model, cost_usd=Decimal(cost), cost_text=cost, usage=usage or Usage(input_tokens=1000)
    )
    fields: dict[str, object] = {"attempts": (attempt,), **changes}
    return an_entry(**fields)


def test_the_json_form_has_the_promised_keys() -> None:
    document = report_of([entry("x/dear", "0.001")]).as_json()
    assert {"by", "since", "until", "rows", "total", "savings", "recommendations"} <= set(document)
    promised = {
        "key",
        "requests",
        "errors",
        "input_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "output_tokens",
        "cost_usd",
        "ttft_p50_s",
        "ttft_p95_s",
        "total_p50_s",
    }
    assert promised <= set(document["rows"][0])
    assert promised - {"key"} <= set(document["total"])
    assert document["total"]["cost_usd"] == "0.001"
    assert document["savings"]["baseline_model"] == "x/dear"
    assert document["until"] is None
    assert json.loads(json.dumps(document)) == document


def test_savings_are_counted_with_the_same_prompt_cache() -> None:
    usage = Usage(
        input_tokens=100, cache_read_tokens=10_000, cache_write_tokens=1_000, output_tokens=10
    )
    saved = report_of([entry("y/cheap", "0.0002", usage)]).as_json()["savings"]
    # 100 · 1e-6 + 10000 · 1e-7 + 1000 · 1.25e-6 + 10 · 5e-6
    assert saved["baseline_cost_usd"] == "0.0024"
    assert saved["saved_usd"] == "0.0022"


def test_losses_are_shown_and_the_parts_add_up() -> None:
    report = report_of([entry("y/cheap", "0.0002"), entry("z/dearest", "0.5")])
    rows = {row["key"]: Decimal(row["saved_usd"]) for row in report.as_json()["rows"]}
    assert rows["z/dearest"] == Decimal("-0.499")
    assert sum(rows.values()) == Decimal(report.as_json()["savings"]["saved_usd"])
    assert "lost" in to_markdown(report)


def test_an_attempt_without_an_answer_is_a_loss() -> None:
    failed = an_attempt(
        model="x/dear", outcome="failed", cost_usd=Decimal("0.01"), usage=Usage(input_tokens=900)
    )
    answered = entry("y/cheap", "0.0002")
    report = report_of([an_entry(attempts=(failed, *answered.attempts))])
    rows = {row["key"]: row for row in report.as_json()["rows"]}
    assert rows["x/dear"]["saved_usd"] == f"-{rows['x/dear']['retry_usd']}"
    assert rows["x/dear"]["requests"] == 0
    assert rows["y/cheap"]["saved_usd"] == "0.0008"


def test_without_a_price_of_the_baseline_there_are_no_savings() -> None:
    for baseline in (None, "nobody/knows"):
        report = report_of([entry("x/dear", "0.001")], baseline=baseline)
        assert report.as_json()["savings"] is None
        assert report.as_json()["rows"][0]["saved_usd"] is None
        said = "no price for nobody/knows is known" if baseline else "no baseline model is set"
        assert f"No savings: {said}." in to_markdown(report).replace("\\", "")


@pytest.mark.parametrize("by", KEYS)
def test_every_grouping_adds_up_to_the_same_total(by: GroupBy) -> None:
    entries = [
        entry("x/dear", "0.25", attribution=Attribution(session_id="s1", project="p", agent="a")),
        entry("y/cheap", "0.5", attribution=Attribution(branch="main", client_key="ci")),
        entry("y/cheap", "0.125", outcome="failed", error_code="rate_limited"),
    ]
    document = report_of(entries, by).as_json()
    assert sum(Decimal(row["cost_usd"]) for row in document["rows"]) == Decimal("0.875")
    assert document["total"]["requests"] == 3
    assert document["total"]["errors_by_code"] == {"rate_limited": 1}


def test_an_empty_ledger_makes_an_empty_report() -> None:
    report = report_of([], with_days=True)
    assert report.as_json()["total"]["cost_usd"] == "0"
    assert report.as_json()["total"]["ttft_p50_s"] is None
    assert to_table(report).rows == ()
    assert to_csv(report).count("\r\n") == 1
    assert "total" in to_markdown(report)


def test_days_stand_in_their_order_and_models_by_their_cost() -> None:
    late = an_attempt(model="y/cheap", started_at=EPOCH + timedelta(days=1), cost_usd=Decimal(9))
    entries = [an_entry(attempts=(late,)), entry("x/dear", "1")]
    report = report_of(entries, "day", with_days=True)
    assert list(report.rows) == ["2026-11-21", "2026-11-22"]
    assert report.days == report.rows
    assert list(report_of(entries).rows) == ["y/cheap", "x/dear"]
    assert list(report_of(entries, with_days=True).days) == ["2026-11-21", "2026-11-22"]


def two_projects() -> list[LedgerEntry]:
    shop, docs = Attribution(project="shop"), Attribution(project="docs")
    return [
        entry("x/dear", "1", attribution=shop),
        entry("y/cheap", "2", attribution=shop),
        entry("y/cheap", "0.5", attribution=docs),
        entry("x/dear", "4", attribution=docs),
    ]


def test_two_dimensions_stand_outer_by_outer_and_add_up() -> None:
    report = report_of(two_projects(), ("project", "model"))
    assert list(report.groups) == [
        ("docs", "x/dear"),
        ("docs", "y/cheap"),
        ("shop", "y/cheap"),
        ("shop", "x/dear"),
    ]
    document = report.as_json()
    assert document["by"] == "project,model"
    assert document["rows"][0]["keys"] == {"project": "docs", "model": "x/dear"}
    assert document["rows"][0]["key"] == "docs · x/dear"
    assert sum(Decimal(row["cost_usd"]) for row in document["rows"]) == Decimal("7.5")
    assert document["total"]["requests"] == 4
    one = report_of(two_projects(), "project")
    assert {
        key: sum(row.cost_pico for row in inner.values()) for key, inner in report.nested.items()
    } == {key: row.cost_pico for key, row in one.rows.items()}


def test_two_dimensions_have_a_column_each_in_every_form() -> None:
    report = report_of(two_projects(), ("project", "model"))
    (first, *_) = csv.DictReader(io.StringIO(to_csv(report), newline=""))
    assert (first["project"], first["model"], first["cost_usd"]) == ("docs", "x/dear", "4")
    table = to_table(report)
    assert table.columns[:3] == ("project", "model", "requests")
    assert {len(row) for row in (*table.rows, table.total)} == {len(table.columns)}
    heading, rule, row = to_markdown(report).splitlines()[4:7]
    assert heading.startswith("| project | model | requests |")
    assert rule.startswith("| --- | --- | ---: |")
    assert row.startswith("| docs | x/dear | 1 |")


def test_days_stay_in_order_on_either_side() -> None:
    late = an_attempt(model="y/cheap", started_at=EPOCH + timedelta(days=1), cost_usd=Decimal(9))
    entries = [an_entry(attempts=(late,)), entry("x/dear", "1"), entry("y/cheap", "2")]
    assert list(report_of(entries, ("day", "model")).groups) == [
        ("2026-11-21", "y/cheap"),
        ("2026-11-21", "x/dear"),
        ("2026-11-22", "y/cheap"),
    ]
    assert list(report_of(entries, ("model", "day")).groups) == [
        ("y/cheap", "2026-11-21"),
        ("y/cheap", "2026-11-22"),
        ("x/dear", "2026-11-21"),
    ]


def test_labels_that_read_alike_stay_apart_as_groups_and_add_up_as_rows() -> None:
    labels = [
        Attribution(project="a · b", branch="c"),
        Attribution(project="a", branch="b · c"),
    ]
    entries = [entry("x/dear", "1", attribution=one) for one in labels]
    report = report_of(entries, ("project", "branch"))
    assert len(report.groups) == 2
    assert [row.requests for row in report.rows.values()] == [2]


@pytest.mark.parametrize(
    "wrong", [(), ("model", "model"), ("model", "task", "day"), ("planet",), "model,planet", ""]
)
def test_what_is_no_pair_of_dimensions_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"^by: "):
        report_of([], wrong)


HOSTILE = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1", "＋1", "－1", "＠x"]


@pytest.mark.parametrize("label", HOSTILE)
def test_no_label_is_a_formula_in_a_spreadsheet(label: str) -> None:
    report = report_of([entry("x/dear", "1", attribution=Attribution(project=label))], "project")
    row = next(csv.DictReader(io.StringIO(to_csv(report), newline="")))
    assert row["project"].startswith("'")
    assert row["cost_usd"] == "1"
    assert float(row["saved_usd"]) < 0


def test_a_label_can_neither_write_to_a_terminal_nor_mark_up_a_page() -> None:
    label = "\x1b]8;;http://x\x07a|b <script>*[x](y)\u202e"
    report = report_of([entry("x/dear", "1", attribution=Attribution(branch=label))], "branch")
    shown = to_table(report).rows[0][0]
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    line = next(line for line in to_markdown(report).splitlines() if "script" in line)
    assert r"a\|b" in line
    assert r"\<script\>" in line
    assert "\x1b" not in to_csv(report)


def test_recommendations_stand_in_the_markdown_with_their_money() -> None:
    retried = an_attempt(model="x/dear", outcome="failed", cost_usd=Decimal("0.5"))
    text = to_markdown(report_of([an_entry(attempts=(retried, an_attempt()))]))
    assert "- **$0.5000** Attempts at x/dear" in text
