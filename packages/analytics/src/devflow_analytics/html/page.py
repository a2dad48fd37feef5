"""Renders a report as one page: nothing to load, for light and dark mode, and for paper.

Its only script sorts and filters the table; without it the page is whole.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from importlib import resources

from devflow_core.summary import Summary
from devflow_core.usage import format_usd, from_pico

from devflow_analytics.formats import figures
from devflow_analytics.formats.figures import (
    format_count,
    format_seconds,
    format_tokens,
)
from devflow_analytics.formats.text import describe_dimensions
from devflow_analytics.html.bars import draw_cache_use, draw_errors, draw_latency, draw_savings
from devflow_analytics.html.cards import draw_card, format_rate
from devflow_analytics.html.costs import draw_days, draw_groups
from devflow_analytics.html.figures_table import draw_figures
from devflow_analytics.html.markup import Markup, element
from devflow_analytics.report import Report, cache_hit_rate, format_time


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """A further report on the same page, with a title that says what it is about."""

    title: str
    note: str
    """Where its figures come from."""
    report: Report


def to_html(report: Report, *chapters: Chapter) -> str:
    """Return the page, to be written as UTF-8.

    The plot over time needs a report made with `with_days=True`, and is left out otherwise.

    Args:
        report: what the page is about.
        chapters: further reports, below it.
    """
    style, script = _read("page.css"), _read("page.js")
    policy = _content_security_policy(style, script)
    head = element(
        "head",
        Markup('<meta charset="utf-8">'),
        # A report holds keys from callers. They are escaped, and the policy is the second line of
        # defence.
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup('<meta name="color-scheme" content="light dark">'),
        Markup('<meta name="referrer" content="no-referrer">'),
        element("title", f"DevFlow: cost and usage by {describe_dimensions(report)}"),
        Markup(f"<style>{style}</style>"),
    )
    parts = [one for chapter in chapters for one in _draw_chapter(chapter)]
    main = element("main", *_sections(report), *parts, _footer(report))
    body = element("body", main, Markup(f"<script>{script}</script>"))
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _read(name: str) -> str:
    return (resources.files("devflow_analytics.html") / name).read_text(encoding="utf-8")


def _content_security_policy(style: str, script: str) -> str:
    """Allow only this style sheet and this script: nothing is loaded or sent."""
    return (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _sections(report: Report) -> list[Markup]:
    return [
        element(
            "header",
            element("h1", "Cost and usage"),
            element("p", figures.format_period(report), class_="muted"),
        ),
        _tiles(report),
        *draw_days(report),
        *_recommendations(report),
        element("div", *draw_groups(report), draw_savings(report), class_="pair"),
        element("div", draw_cache_use(report), draw_latency(report), class_="pair"),
        *draw_errors(report),
        draw_figures(report),
    ]


def _draw_chapter(chapter: Chapter) -> list[Markup]:
    report = chapter.report
    return [
        element(
            "header",
            element("h1", chapter.title),
            element("p", chapter.note, class_="muted"),
            class_="chapter",
        ),
        *draw_days(report),
        *draw_groups(report),
        draw_figures(report),
    ]


def _tiles(report: Report) -> Markup:
    total = report.total
    rate = cache_hit_rate(total)
    saved = report.savings_of(total)
    succeeded = 1 - total.failed / total.requests if total.requests else None
    tiles = [
        ("cost", format_usd(from_pico(total.cost_pico)), _cost_note(total)),
        ("saved", format_usd(saved.saved_usd), f"against {saved.baseline_model}")
        if saved
        else None,
        ("requests", format_count(total.requests), f"{format_rate(succeeded)} succeeded"),
        (
            "tokens",
            format_tokens(total.usage.total_tokens),
            f"{format_tokens(total.usage.completion_tokens)} out",
        ),
        ("prompt cache", format_rate(rate), "of the input read from it"),
        (
            "first token",
            format_seconds(total.ttft.quantile_s(0.5)),
            f"p95 {format_seconds(total.ttft.quantile_s(0.95))}",
        ),
    ]
    return element("div", *(_tile(*one) for one in tiles if one), class_="tiles")


def _tile(name: str, figure: str, note: str) -> Markup:
    return element(
        "div",
        element("div", name, class_="name"),
        element("div", figure, class_="figure"),
        element("div", note, class_="muted"),
        class_="tile",
    )


def _cost_note(total: Summary) -> str:
    if not total.estimated_pico:
        return "as the provider reported it"
    return f"{format_usd(from_pico(total.estimated_pico))} of it estimated"


def _recommendations(report: Report) -> list[Markup]:
    if not report.recommendations:
        return []
    items = (
        element(
            "li",
            element("strong", format_usd(one.saves_usd)),
            " ",
            one.text,
        )
        for one in report.recommendations
    )
    note = "What would have saved money in this time. They overlap, so they do not add up."
    return [draw_card("Recommendations", note, element("ul", *items, class_="advice"))]


def _footer(report: Report) -> Markup:
    return element(
        "footer",
        element(
            "p",
            f"Made {format_time(report.made_at)}. Days and times are UTC, amounts are US dollars. "
            "A request counts at the model that decided it; what earlier attempts cost is at "
            "their own model, and a loss there. Times are off by at most 5 %. This page holds "
            "names and numbers, no text of any prompt or reply.",
            class_="muted",
        ),
    )
