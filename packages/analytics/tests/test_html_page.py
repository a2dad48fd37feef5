import base64
import hashlib
import math
import re
from datetime import timedelta
from decimal import Decimal
from html.parser import HTMLParser

import pytest
from devflow_analytics import Chapter, Reporter, to_html
from devflow_analytics.formats import figures
from devflow_analytics.html import charts
from devflow_analytics.html.charts import BarSegment, StackedColumn
from devflow_analytics.html.markup import Markup, element, join
from devflow_core.attribution import Attribution
from devflow_core.dimensions import GroupBy
from devflow_core.summary import EntriesReader
from devflow_core.testing import EPOCH, a_price, an_attempt, an_entry
from devflow_core.usage import format_usd
from hypothesis import given
from hypothesis import strategies as st

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
    assert tags.isdisjoint({"link", "img", "iframe", "form", "a", "object", "use"})
    names = {name for _, attrs in parsed.elements for name in attrs}
    assert names.isdisjoint({"style", "src", "href", "srcset", "xlink:href"})
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    assert "url(" not in text
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    sending = r"fetch|XMLHttp|WebSocket|EventSource|import|eval|Function|location|open\(|cookie"
    writing = r"innerHTML|outerHTML|insertAdjacent|document\.write|setTimeout"
    assert not re.search(f"{sending}|{writing}", script)


def test_its_policy_allows_its_own_style_sheet_and_script_and_nothing_else() -> None:
    text = page()
    digests = [
        base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()
        for _, one in re.findall(r"<(style|script)>(.*?)</\1>", text, re.DOTALL)
    ]
    policy = next(
        attrs["content"]
        for _, attrs in Page(text).elements
        if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digests[0]}'; script-src 'sha256-{digests[1]}'; "
        "base-uri 'none'; form-action 'none'"
    )
    assert "prefers-color-scheme: dark" in text


def test_the_page_of_an_empty_ledger_is_whole() -> None:
    parsed = Page(page(days=0))
    assert parsed.open == []


def test_days_without_a_request_have_their_place() -> None:
    text = page(days=3)
    shown = re.findall(r'text-anchor="middle">([\d-]+)<', text)
    assert shown == [f"11-{day}" for day in (13, 15, 17, 19, 21, 23, 25)]
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


@pytest.mark.parametrize(
    ("most", "shown"),
    [
        (3.1, ["$0", "$1", "$2", "$3", "$4"]),
        (0.37, ["$0.00", "$0.10", "$0.20", "$0.30", "$0.40"]),
        (0.00008, ["$0.00000", "$0.00002", "$0.00004", "$0.00006", "$0.00008"]),
        (0.0123, ["$0.000", "$0.005", "$0.010", "$0.015"]),
        (2_000, ["$0", "$500", "$1,000", "$1,500", "$2,000"]),
        (10.0, ["$0", "$2", "$4", "$6", "$8", "$10"]),
        (0.0, ["$0", "$1"]),
    ],
)
def test_a_scale_is_read_at_a_glance(most: float, shown: list[str]) -> None:
    ticks = charts.make_ticks(most)
    assert [charts.format_tick(one, ticks[1]) for one in ticks] == shown
    segment = BarSegment(value=most, style="s0", text="all")
    drawn = charts.column_chart([StackedColumn(label="a", title="a", segments=(segment,))])
    assert all(f">{text}<" in drawn for text in shown)


@given(st.floats(min_value=1e-9, max_value=1e9))
def test_a_scale_holds_the_greatest_value_in_few_steps(most: float) -> None:
    ticks = charts.make_ticks(most)
    assert ticks[-1] >= most * (1 - 1e-6)
    assert 2 <= len(ticks) <= charts.MAX_TICKS + 1
    assert ticks[-2] < most
    assert str(ticks[1] / 10.0 ** math.floor(math.log10(ticks[1]) + 1e-9))[:1] in "125"
    texts = [charts.format_tick(one, ticks[1]) for one in ticks]
    assert len(set(texts)) == len(texts)
    assert not any("e" in text for text in texts)


def _report(by: GroupBy | tuple[GroupBy, ...], models: int, projects: int = 2) -> str:
    entries = [
        an_entry(
            attempts=(
                an_attempt(
                    model=f"maker/model-{model}",
                    cost_usd=Decimal(models - model),
                    started_at=EPOCH + timedelta(days=model % 3),
                ),
            ),
            attribution=Attribution(project=f"/src/{project}" if project else None),
        )
        for model in range(models)
        for project in range(projects)
    ]
    reporter = Reporter(EntriesReader(lambda: entries), price_of=lambda _: a_price())
    return to_html(reporter.report(by, with_days=True))


def test_days_are_stacked_by_what_the_report_is_about() -> None:
    for by, stacked in (("model", "model"), ("project", "project"), ("day", "model")):
        assert f"Cost by day and {stacked}" in _report(by, 3)  # type: ignore[arg-type]
    text = _report(("day", "project"), 3)
    assert "Cost by day and project" in text
    assert re.search(r"<title>2026-\d\d-\d\d: \$\d+\.\d\d; /src/1: \$\d", text)


def test_two_dimensions_are_one_stacked_bar_for_each_outer_key() -> None:
    text = _report(("project", "model"), 9)
    card = text[text.index("<h2>Cost by project and model") : text.index("<h2>Saved and lost")]
    assert card.count("<tr>") == 2
    assert 'title="(not known)"' in card
    assert card.count('class="s6"') == 3  # a legend and two bars
    assert "> others<" in card
    assert "maker/model-8" not in card


def test_one_more_key_than_colours_has_its_own_name() -> None:
    text = _report("model", 7)
    assert "> others<" not in text
    assert "> maker/model-6<" in text


def test_a_single_day_has_its_place_among_others() -> None:
    text = page(days=1)
    plot = text[text.index('class="chart"') :]
    assert plot[: plot.index("</div>")].count("<g>") == 14


def test_the_table_carries_what_it_is_sorted_by() -> None:
    text = page(days=3)
    assert 'data-field="cost_usd"' in text
    assert '<td data-value="6">$6.00</td>' in text
    assert "<input" not in text  # the script makes it: without a script nothing is there that fails


def test_a_chapter_follows_with_its_own_figures() -> None:
    entries = [an_entry()]
    reporter = Reporter(EntriesReader(lambda: entries), price_of=lambda _: a_price())
    made = reporter.report("model", with_days=True)
    chapter = Chapter(title="What <others> spent", note="From elsewhere.", report=made)
    text = to_html(made, chapter)
    assert Page(text).open == []
    assert "What &lt;others&gt; spent" in text
    assert text.count('class="figures"') == 2


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
