"""Draws what every part of the page is made of: cards and legends."""

from __future__ import annotations

from devflow_analytics.formats import figures
from devflow_analytics.html.markup import Markup, element, join


def draw_card(title: str, note: str, *content: Markup) -> Markup:
    """Draw a card with a heading, a note if there is one, and content."""
    notes = [element("p", note, class_="muted")] if note else []
    return element("section", element("h2", title), *notes, *content, class_="card")


def draw_legend(*entries: tuple[str, str]) -> Markup:
    """Draw the names of styles, given as pairs of a class and a name."""
    return join(
        *(
            element(
                "span",
                element(
                    "svg", element("circle", cx="6", cy="6", r="5", class_=style),
                    width="12", height="12",
                ),
                f" {name}",
                class_="key",
            )
            for style, name in entries
        )
    )  # fmt: skip


def format_rate(share: float | None) -> str:
    """Format a share; `UNKNOWN` for None."""
    return figures.UNKNOWN if share is None else figures.format_percent(share)
