import base64
import hashlib
import re
from datetime import timedelta
from decimal import Decimal
from html.parser import HTMLParser

import pytest
from devflow_analytics import Reporter, to_html
from devflow_analytics.formats import figures
from devflow_analytics.html import charts
from devflow_analytics.html.charts import Point
from devflow_analytics.html.markup import Markup, element, join
from devflow_core.attribution import Attribution
from devflow_core.summary import EntriesReader
from devflow_core.testing import EPOCH, a_price, an_attempt, an_entry
from devflow_core.usage import format_usd

NESTING = {"meta"}


class Page(HTMLParser):
    """Every element with its attributes, and whether they are closed in the right order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in NESTING:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page(
    label: str = "x/model", days: int = 3, *, baseline: str | None = "b", errors: int = 1
) -> str:
    entries = [
        an_entry(
            attempts=(
                an_attempt(
                    model=label,
                    cost_usd=Decimal(day + 1),
                    cost_status="estimated",
                    started_at=EPOCH + timedelta(days=2 * day),
                ),
            ),
            attribution=Attribution(session_id=label),
            outcome="failed" if day < errors else "succeeded",
            error_code=label if day < errors else None,
        )
        for day in range(days)
    ]
    reporter = Reporter(
        EntriesReader(lambda: entries), price_of=lambda _: a_price(), baseline_model=baseline
    )
    return to_html(reporter.report("model", with_days=True))


HOSTILE = [
    "<script>alert(1)</script>",
    "'\"><img src=x onerror=alert(1)>",
    "</title></style><svg onload=alert(1)>",
    "javascript:alert(1)",
    "&lt;b&gt;",
    "<!--",
    "]]>",
    "\x00\x1b[31m\u202e",
]


@pytest.mark.parametrize("label", HOSTILE)
def test_a_label_stays_text(label: str) -> None:
    harmless = [tag for tag, _ in Page(page()).elements]
    parsed = Page(page(label))
    assert [tag for tag, _ in parsed.elements] == harmless
    assert parsed.open == []
    assert not any(name.startswith("on") for _, attrs in parsed.elements for name in attrs)


def test_the_page_loads_runs_and_sends_nothing() -> None:
    text = page()
    parsed = Page(text)
    tags = {tag for tag, _ in parsed.elements}
    assert tags.isdisjoint({"script", "link", "img", "iframe", "form", "a", "object", "use"})
    names = {name for _, attrs in parsed.elements for name in attrs}
    assert names.isdisjoint({"style", "src", "href", "srcset", "xlink:href"})
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    assert "url(" not in text


def test_its_policy_allows_its_own_style_sheet_and_nothing_else() -> None:
    text = page()
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = next(
        attrs["content"]
        for _, attrs in Page(text).elements
        if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    assert "prefers-color-scheme: dark" in style[1]


def test_the_page_of_an_empty_ledger_is_whole() -> None:
    parsed = Page(page(days=0))
    assert parsed.open == []


def test_days_without_a_request_have_their_place() -> None:
    text = page(days=3)
    assert "11-22" in text
    assert "$0.00" in text
    assert page(days=200).count("<title>") < 200


def test_without_a_baseline_no_savings_are_reported() -> None:
    text = page(baseline=None)
    assert "no baseline model is set" in text
    assert "Failed and cancelled" not in page(errors=0)


def test_only_made_markup_is_not_escaped() -> None:
    assert element("b", "<i>", Markup("<u></u>"), title='"') == (
        '<b title="&quot;">&lt;i&gt;<u></u></b>'
    )
    assert join("&", Markup("&amp;")) == "&amp;&amp;"


def test_a_scale_ends_at_a_round_number() -> None:
    drawn = charts.column_chart([Point(label="a", value=3.1, text="3.1")])
    for tick in ("0", "1", "2", "3", "4"):
        assert f">{tick}<" in drawn
    assert "rect" in charts.column_chart([Point(label="a", value=0.0, text="0")])


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0", "$0.00"),
        ("12.345", "$12.34"),
        ("1234.5", "$1,234.50"),
        ("0.00421", "$0.0042"),
        ("0.0000042", "$0.0000042"),
        ("-4.2", "-$4.20"),
    ],
)
def test_amounts_keep_the_digits_that_count(amount: str, shown: str) -> None:
    assert format_usd(Decimal(amount)) == shown


def test_numbers_are_short_enough_for_a_table() -> None:
    assert [figures.format_tokens(n) for n in (950, 12_300, 4_560_000, 7_000_000_000)] == [
        "950",
        "12.3k",
        "4.56M",
        "7.00G",
    ]
    assert [figures.format_seconds(s) for s in (None, 0.34, 2.41, 93.0)] == [
        "–",
        "340 ms",
        "2.41 s",
        "93 s",
    ]
