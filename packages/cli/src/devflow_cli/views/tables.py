"""Prints tables for people: whole names, as many columns as fit, money in one form.

On a terminal the least important columns are left out until the rest fits, and a line names them.
A name is never cut: where it is wider than the terminal, it goes on in the next line. Only running
text (titles, reasons) is shortened. In a pipe, and with `--wide`, everything is printed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from textwrap import fill
from typing import TYPE_CHECKING, Any

import typer
from devflow_core.usage import format_usd, parse_decimal
from rich.cells import cell_len, chop_cells, set_cell_size
from rich.text import Text

from devflow_cli.run import strip_control_chars

if TYPE_CHECKING:
    from devflow_cli.run import Run

Row = Mapping[str, Any]
MIN_TEXT_WIDTH = 16
"""The least width that running text is shortened to; before that, columns are left out."""
MIN_NAME_WIDTH = 8
"""A name is folded into lines of at least this width."""
MAX_SENTENCE_WIDTH = 100
"""Sentences are wrapped at this width on wider terminals: longer lines are hard to read."""
_GAP = "  "


@dataclass(frozen=True, slots=True)
class LaidColumn:
    """A column before it is fitted: its cells are text, all of them as they would be in a pipe."""

    key: str
    heading: str
    is_left: bool
    """Whether cells are left-aligned: names and text; numbers and money are not."""
    is_text: bool
    """Whether cells are running text, which may be shortened."""
    cells: tuple[str, ...]

    @property
    def width(self) -> int:
        """The width of the widest cell, in columns of the terminal."""
        return max(map(cell_len, (self.heading, *self.cells)))


def print_table(  # noqa: PLR0913 - each says one thing of the table
    run: Run,
    columns: Mapping[str, str],
    rows: Sequence[Row],
    *,
    total: Row | None = None,
    drop: Sequence[str] | None = None,
    text: Collection[str] = (),
    beside: Collection[str] = (),
) -> None:
    """Print rows as a table that fits the terminal; see the module.

    Args:
        run: where to print, and the options `--wide` and `--columns`.
        columns: headings by key of the row. A heading that begins with `>` marks a column of
            numbers, right-aligned; `$` marks one of money, aligned at the decimal point.
        rows: values are formatted as text; characters that control a terminal are removed.
        total: a last row below a line.
        drop: the keys that may be left out, the least important first; None is all but the first,
            from the right. Ignored if `--columns` chooses.
        text: the keys of running text, which is shortened before a column is left out.
        beside: further names that `--columns` may hold, as another table of the command has them.

    Raises:
        typer.BadParameter: `--columns` names a column that does not exist.
    """
    chosen = _choose(columns, run.columns, beside)
    made = [_make_column(key, columns[key], rows, total, key in text) for key in chosen]
    is_bounded = run.console.is_terminal and not run.wide
    if not is_bounded:
        shown, widths = made, [column.width for column in made]
    else:
        order = [*reversed(chosen[1:])] if drop is None else list(drop)
        shown, widths = _fit(made, [] if run.columns else order, run.console.width)
    _print(run, shown, widths, has_total=total is not None)
    if left_out := [column.heading or column.key for column in made if column not in shown]:
        say_sentence(
            run, f"Left out: {', '.join(left_out)}. --wide shows all, --columns a,b,c those."
        )


def say_sentence(run: Run, text: str) -> None:
    """Print a sentence, wrapped on a terminal; in a pipe it is one line."""
    width = min(run.console.width, MAX_SENTENCE_WIDTH)
    run.say(fill(text, width) if run.console.is_terminal else text)


def format_cell(value: object) -> str:
    """Format a value as a cell without control characters; empty for None.

    Thousands are grouped, floats below 1,000 have three significant digits, money is as
    `format_usd` has it, and a time is month, day, hour and minute.
    """
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
        case Decimal():
            return format_usd(value)
        case datetime():
            return f"{value:%m-%d %H:%M}"
        case _:
            return strip_control_chars(str(value)).replace("\n", " ").replace("\t", " ")


def format_money(value: object) -> str:
    """Format an amount, also one that is decimal text; any other text stays, and None is empty."""
    amount = value if isinstance(value, Decimal) else parse_decimal(value)
    return format_cell(value) if amount is None else format_usd(amount)


def _choose(
    columns: Mapping[str, str], asked: str | None, beside: Collection[str]
) -> tuple[str, ...]:
    """Return the keys of the columns that `--columns` names, by key or heading.

    All of them without the option, or if it names only columns of other tables.

    Raises:
        typer.BadParameter: no table of the command has a column that it names.
    """
    if asked is None:
        return tuple(columns)
    names = {key: key for key in columns}
    names |= {heading.lstrip(">$").lower(): key for key, heading in columns.items() if heading}
    given = [one.strip().lower() for one in asked.split(",") if one.strip()]
    if wrong := [one for one in given if one not in names and one not in beside]:
        allowed = ", ".join(dict.fromkeys((*columns, *beside)))
        raise typer.BadParameter(f"{wrong[0]!r} is none of {allowed}", param_hint="--columns")
    found = dict.fromkeys(names[one] for one in given if one in names)
    return tuple(found or columns)


def _make_column(
    key: str, heading: str, rows: Sequence[Row], total: Row | None, is_text: bool
) -> LaidColumn:
    is_money = heading.startswith("$")
    values = [row.get(key) for row in (*rows, *(() if total is None else (total,)))]
    cells = [format_money(one) if is_money else format_cell(one) for one in values]
    return LaidColumn(
        key,
        heading.lstrip(">$"),
        is_left=not heading.startswith((">", "$")),
        is_text=is_text,
        cells=tuple(_align_points(cells) if is_money else cells),
    )


def _align_points(cells: Sequence[str]) -> list[str]:
    """Pad amounts on the right, so that their points stand below each other."""
    places = [len(cell) - cell.rfind(".") if "." in cell else 0 for cell in cells]
    most = max(places, default=0)
    return [
        cell + " " * (most - count) if count else cell
        for cell, count in zip(cells, places, strict=True)
    ]


def _fit(
    columns: list[LaidColumn], drop: Sequence[str], width: int
) -> tuple[list[LaidColumn], list[int]]:
    """Return the columns that are shown, and their widths; the line fits into `width` if it can."""
    shown = _choose_fitting(columns, drop, width)
    missing = _least_width(shown) - width
    widths = [min(one.width, MIN_TEXT_WIDTH) if one.is_text else one.width for one in shown]
    for at, column in enumerate(shown):
        if column.is_text:
            # what is left over goes to the first text
            widths[at] += min(column.width - widths[at], max(0, -missing))
            missing += widths[at] - min(column.width, MIN_TEXT_WIDTH)
    # all that is left is needed: the widest name is folded, and then the next beside it
    names = [at for at, one in enumerate(shown) if one.is_left and not one.is_text]
    while missing > 0 and (widest := max(names, key=widths.__getitem__, default=None)) is not None:
        if widths[widest] <= MIN_NAME_WIDTH:
            break
        widths[widest] -= 1
        missing -= 1
    return shown, widths


def _choose_fitting(columns: list[LaidColumn], drop: Sequence[str], width: int) -> list[LaidColumn]:
    """Leave out columns until the rest fits; what one wide column took, narrow ones get back."""
    out: set[str] = set()
    for key in drop:
        if _least_width([one for one in columns if one.key not in out]) <= width:
            break
        out.add(key)
    for key in reversed(drop):
        wanted = [one for one in columns if one.key not in out - {key}]
        if key in out and _least_width(wanted) <= width:
            out.discard(key)
    return [one for one in columns if one.key not in out]


def _least_width(columns: Sequence[LaidColumn]) -> int:
    widths = (min(one.width, MIN_TEXT_WIDTH) if one.is_text else one.width for one in columns)
    return sum(widths) + len(_GAP) * (len(columns) - 1)


def _print(
    run: Run, columns: Sequence[LaidColumn], widths: Sequence[int], *, has_total: bool
) -> None:
    rule = "─" * (sum(widths) + len(_GAP) * (len(widths) - 1))
    headings = tuple(column.heading for column in columns)
    for line in _lines(columns, headings, widths):
        run.console.print(Text(line, "bold"))
    run.console.print(Text(rule))
    rows = list(zip(*(column.cells for column in columns), strict=True))
    for at, row in enumerate(rows):
        is_total = has_total and at == len(rows) - 1
        if is_total:
            run.console.print(Text(rule))
        for line in _lines(columns, row, widths):
            run.console.print(Text(line, "bold" if is_total else ""))


def _lines(columns: Sequence[LaidColumn], row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Return a row as lines: one, unless a name is folded."""
    folded = [
        _fold(column, cell, width) for column, cell, width in zip(columns, row, widths, strict=True)
    ]
    height = max(map(len, folded))
    lines: list[str] = []
    for at in range(height):
        parts = (
            _pad(cell[at] if at < len(cell) else "", width, is_left=column.is_left)
            for column, cell, width in zip(columns, folded, widths, strict=True)
        )
        lines.append(_GAP.join(parts).rstrip())
    return lines


def _fold(column: LaidColumn, cell: str, width: int) -> list[str]:
    if cell_len(cell) <= width:
        return [cell]
    if column.is_text and cell != column.heading:
        return [set_cell_size(cell, width - 1).rstrip() + "…"]
    return chop_cells(cell, width)


def _pad(cell: str, width: int, *, is_left: bool) -> str:
    spaces = " " * max(0, width - cell_len(cell))
    return cell + spaces if is_left else spaces + cell
