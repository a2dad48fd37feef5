"""Draws plots as inline SVG, without scripts or external resources; classes give the colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from devflow_analytics.html.markup import Markup, element, join

WIDTH, HEIGHT = 960.0, 240.0
"""The size of a column chart, in units of its view box; the page scales it to its width."""
_LEFT, _BOTTOM, _TOP = 64.0, 24.0, 10.0


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


def column_chart(points: Sequence[Point], *, tick: str = "{:g}") -> Markup:
    """Draw columns over time, with a scale of a few round values.

    Args:
        points: in chronological order; no value is negative.
        tick: format of a value on the scale.
    """
    top = _round_up(max((point.value for point in points), default=0.0))
    plot_height = HEIGHT - _BOTTOM - _TOP
    step = (WIDTH - _LEFT) / max(1, len(points))
    lines = [
        _scale_line(HEIGHT - _BOTTOM - plot_height * part / 4, tick.format(top * part / 4))
        for part in range(5)
    ]
    bars = [
        _column(point, _LEFT + step * number, step, plot_height * point.value / top)
        for number, point in enumerate(points)
    ]
    # more than about eight labels would overlap
    every = max(1, math.ceil(len(points) / 8))
    labels = [
        _axis_label(point.label, _LEFT + step * (number + 0.5))
        for number, point in enumerate(points)
        if number % every == 0
    ]
    view = f"0 0 {WIDTH:.0f} {HEIGHT:.0f}"
    return element(
        "svg", *lines, *bars, *labels, viewBox=view, role="img", class_="plot",
    )  # fmt: skip


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


def stacked_bar(segments: Sequence[BarSegment]) -> Markup:
    """Draw a full bar of segments, each as wide as its share; segments without one are left out."""
    total = sum(segment.value for segment in segments)
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


def _column(point: Point, x: float, step: float, height: float) -> Markup:
    gap = min(6.0, step * 0.2)
    return element(
        "rect", element("title", f"{point.label}: {point.text}"),
        x=x + gap / 2, y=HEIGHT - _BOTTOM - height, width=step - gap, height=height, rx="2",
        class_="bar",
    )  # fmt: skip


def _scale_line(y: float, text: str) -> Markup:
    return join(
        element("line", x1=_LEFT, x2=WIDTH, y1=y, y2=y, class_="grid"),
        element("text", text, x=_LEFT - 8, y=y + 4, class_="tick", text_anchor="end"),
    )


def _axis_label(text: str, x: float) -> Markup:
    return element("text", text, x=x, y=HEIGHT - 6, class_="tick", text_anchor="middle")


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


def _round_up(value: float) -> float:
    """Round up to 1, 2, 4 or 8 times a power of ten, so that a quarter of it is round as well."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    # the tolerance keeps rounding errors of the logarithm from skipping a step
    return next(step * power for step in (1, 2, 4, 8, 10) if value <= step * power * (1 + 1e-9))
