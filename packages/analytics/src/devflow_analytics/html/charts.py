"""Draws plots as inline SVG, without scripts or external resources; classes give the colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from devflow_analytics.html.markup import Markup, element

HEIGHT = 236.0
"""Height of a column chart in pixels; its width is the page's."""
_BOTTOM, _TOP = 24.0, 10.0
_CHARACTER = 7.5
"""The width of a character of the scale, in pixels."""
MAX_TICKS = 5
"""The most steps of a scale, from zero on."""
MAX_LABELS = 7
"""The most labels below the columns; in a window of 500 pixels more would overlap."""
MAX_COLUMN = 6.0
"""The widest column, in percent of the plot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One value of a plot."""

    label: str
    value: float
    text: str
    """The value as shown to people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BarSegment:
    """One segment of a stacked bar."""

    value: float
    style: str
    """A class of the page's style sheet."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StackedColumn:
    """One column of a chart over time."""

    label: str
    """The text below the column; left out where there is no room."""
    title: str
    """Shown before the text of each segment that is pointed at."""
    segments: tuple[BarSegment, ...]
    """From the bottom to the top; values are USD."""


def column_chart(columns: Sequence[StackedColumn]) -> Markup:
    """Draw stacked columns over time, with a scale of a few round amounts.

    Texts keep their size at any width of the page: the plot's places are shares of its width.

    Args:
        columns: in chronological order; no value is negative.
    """
    heights = [sum(one.value for one in column.segments) for column in columns]
    ticks = make_ticks(max(heights, default=0.0))
    texts = [format_tick(tick, ticks[1]) for tick in ticks]
    plot_height = HEIGHT - _BOTTOM - _TOP
    ys = [HEIGHT - _BOTTOM - plot_height * tick / ticks[-1] for tick in ticks]
    width = 10 + _CHARACTER * max(map(len, texts))
    names = [
        element("text", text, x=width - 8, y=y + 4, class_="tick", text_anchor="end")
        for text, y in zip(texts, ys, strict=True)
    ]
    lines = [element("line", x1="0", x2="100%", y1=y, y2=y, class_="grid") for y in ys]
    step = 100 / max(1, len(columns))
    drawn = [
        _column(column, step * (number + 0.5), step, plot_height / ticks[-1])
        for number, column in enumerate(columns)
    ]
    every = max(1, math.ceil(len(columns) / MAX_LABELS))
    # counted from the end, so that the latest day has its label
    labels = [
        _axis_label(column.label, step * (number + 0.5))
        for number, column in enumerate(columns)
        if (len(columns) - 1 - number) % every == 0
    ]
    return element(
        "div",
        element("svg", *names, width=width, height=HEIGHT, class_="scale", aria_hidden="true"),
        element("svg", *lines, *drawn, *labels, height=HEIGHT, class_="plot", role="img"),
        class_="chart",
    )


def make_ticks(max_value: float) -> tuple[float, ...]:
    """Return round values from 0 to at least `max_value`, in steps of 1, 2 or 5 (times 10ⁿ).

    There are at most `MAX_TICKS` steps; one of 1, if `max_value` is 0 or less.
    """
    if max_value <= 0:
        return (0.0, 1.0)
    power = 10.0 ** math.floor(math.log10(max_value / MAX_TICKS))
    # the tolerance keeps rounding errors from adding a step
    step = next(
        step * power
        for step in (1, 2, 5, 10, 20)
        if max_value <= MAX_TICKS * step * power * (1 + 1e-9)
    )
    count = min(MAX_TICKS, math.ceil(max_value / step - 1e-9))
    return tuple(step * number for number in range(count + 1))


def format_tick(value: float, step: float) -> str:
    """Format an amount on a scale as `$0.10`: with the digits that tell the steps apart."""
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"${value:,.{max(2, digits) if digits else 0}f}"


def bar(point: Point, max_value: float) -> Markup:
    """Draw a bar from the left edge, as wide as its share of `max_value`."""
    share = _share(point.value, max_value)
    return _svg_row(_rect(0.0, share, "bar", f"{point.label}: {point.text}"))


def diverging_bar(point: Point, max_value: float) -> Markup:
    """Draw a bar from the middle: to the right if positive, to the left if negative.

    A value of plus or minus `max_value` fills its half.
    """
    share = _share(abs(point.value), max_value) / 2
    is_loss = point.value < 0
    start = 50.0 - share if is_loss else 50.0
    style = "loss" if is_loss else "gain"
    middle = element("line", x1="50%", x2="50%", y1="0", y2="100%", class_="axis")
    return _svg_row(_rect(start, share, style, f"{point.label}: {point.text}"), middle)


def stacked_bar(segments: Sequence[BarSegment], max_value: float | None = None) -> Markup:
    """Draw a bar of segments, each as wide as its share; segments without one are left out.

    Args:
        segments: from left to right.
        max_value: the sum that fills the row; None: that of these segments.
    """
    total = sum(segment.value for segment in segments) if max_value is None else max_value
    start, pieces = 0.0, list[Markup]()
    for segment in segments:
        share = _share(segment.value, total)
        if share:
            pieces.append(_rect(start, share, segment.style, segment.text))
        start += share
    return _svg_row(*pieces)


def quantile_range(points: Sequence[Point], max_value: float) -> Markup:
    """Draw a line from the smallest to the largest duration, with a dot at each.

    The scale is logarithmic, from 10 ms to `max_value`.

    Args:
        points: durations in seconds; at least one.
        max_value: the duration at the right edge, in seconds.
    """
    positions = [_log_share(point.value, max_value) for point in points]
    line = element(
        "line",
        x1=f"{min(positions):.2f}%",
        x2=f"{max(positions):.2f}%",
        y1="50%",
        y2="50%",
        class_="spread",
    )
    dots = (
        element("circle", element("title", f"{point.label}: {point.text}"),
                cx=f"{x:.2f}%", cy="50%", r="5", class_=f"dot{number}")
        for number, (point, x) in enumerate(zip(points, positions, strict=True))
    )  # fmt: skip
    return _svg_row(line, *dots)


def _svg_row(*shapes: Markup) -> Markup:
    return element("svg", *shapes, width="100%", height="18", role="img", class_="row")


def _rect(start: float, share: float, style: str, title: str) -> Markup:
    return element(
        "rect", element("title", title),
        x=f"{start:.2f}%", y="2", width=f"{max(share, 0.3):.2f}%", height="14", rx="2",
        class_=style,
    )  # fmt: skip


def _column(column: StackedColumn, middle: float, step: float, height_per_usd: float) -> Markup:
    """Draw a column of segments on top of each other; its middle and step are percent."""
    width = min(step * 0.8, MAX_COLUMN)
    y, pieces = HEIGHT - _BOTTOM, list[Markup]()
    for segment in column.segments:
        # a cost that is not nothing is seen
        height = max(segment.value * height_per_usd, 0.5)
        y -= height
        title = element("title", f"{column.title}; {segment.text}")
        pieces.append(
            element(
                "rect", title, x=f"{middle - width / 2:.2f}%", y=y, width=f"{width:.2f}%",
                height=height, class_=segment.style,
            )
        )  # fmt: skip
    return element("g", *pieces)


def _axis_label(text: str, x: float) -> Markup:
    return element("text", text, x=f"{x:.2f}%", y=HEIGHT - 6, class_="tick", text_anchor="middle")


def _share(value: float, max_value: float) -> float:
    """Return the share in percent."""
    return 100 * value / max_value if max_value else 0.0


def _log_share(value_s: float, max_s: float) -> float:
    """Return the position of a duration between 10 ms and the longest, in percent of the width."""
    # shorter is faster than any network: such values share the left edge
    least_s = 0.01
    if value_s <= least_s or max_s <= least_s:
        return 2.0
    return 2.0 + 96.0 * math.log(value_s / least_s) / math.log(max_s / least_s)
