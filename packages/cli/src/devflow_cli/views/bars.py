"""Draws costs as stacked bars of characters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from devflow_core.usage import format_usd, from_pico
from rich.cells import cell_len
from rich.text import Text

from devflow_cli.run import strip_control_chars

if TYPE_CHECKING:
    from devflow_core.summary import Summary

SERIES = (("█", "blue"), ("▓", "yellow"), ("▒", "green"), ("░", "magenta"), ("▚", "cyan"))
"""A glyph and a colour for each of the largest series, which are told apart by either."""
OTHERS = ("·", "")
"""The glyph of all further series together."""
MIN_BAR_WIDTH = 10
MAX_WIDTH = 100
"""The most columns of a line with a bar, on wider terminals: longer bars are hard to compare."""


def draw_stacked_bars(nested: Mapping[str, Mapping[str, Summary]], width: int) -> Iterator[Text]:
    """Yield a line with a bar of costs for each outer key, then the legend, largest series first.

    Args:
        nested: sums by outer key, then by the series; see `Report.nested`.
        width: columns of the terminal.
    """
    costs = {
        key: {name: row.cost_pico for name, row in inner.items()} for key, inner in nested.items()
    }
    series = _sum_series(costs.values())
    styles = {name: SERIES[at] if at < len(SERIES) else OTHERS for at, name in enumerate(series)}
    totals = {key: sum(inner.values()) for key, inner in costs.items()}
    amounts = {key: format_usd(from_pico(pico)) for key, pico in totals.items()}
    taken = max((cell_len(key) + len(amounts[key]) + 4 for key in totals), default=0)
    bar_width = max(MIN_BAR_WIDTH, min(width, MAX_WIDTH) - taken)
    most = max(totals.values(), default=0)
    for key, inner in costs.items():
        line = Text(f"{strip_control_chars(key)}  ")
        # something was spent: that shows, however little it is
        length = max(1, round(bar_width * totals[key] / most)) if totals[key] else 0
        pieces = [inner.get(name, 0) for name in series]
        for name, cells in zip(series, _share(pieces, length), strict=True):
            glyph, colour = styles[name]
            line.append(glyph * cells, colour)
        yield line.append(f"{'  ' if length else ''}{amounts[key]}")
    yield Text()
    yield from _draw_legend(series)


def _sum_series(costs: Iterable[Mapping[str, int]]) -> list[str]:
    """Return the names of all series, the most expensive first."""
    sums: dict[str, int] = {}
    for inner in costs:
        for name, pico in inner.items():
            sums[name] = sums.get(name, 0) + pico
    return sorted(sums, key=lambda name: (-sums[name], name))


def _draw_legend(series: Sequence[str]) -> Iterator[Text]:
    for name, (glyph, colour) in zip(series, SERIES, strict=False):
        yield Text.assemble((glyph * 2, colour), f"  {strip_control_chars(name) or '(not known)'}")
    if (more := len(series) - len(SERIES)) > 0:
        yield Text(f"{OTHERS[0] * 2}  {more} more")
    yield Text()


def _share(pieces: Sequence[int], width: int) -> list[int]:
    """Divide the cells of a bar among its pieces, so that they add up to its width."""
    whole = sum(pieces)
    ends: list[int] = []
    so_far = 0
    for pico in pieces:
        so_far += pico
        ends.append(round(width * so_far / whole) if whole else 0)
    return [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
