"""`devflow report`: where the money went, how fast it was, and what to do about it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

from devflow_cli.main import app
from devflow_cli.run import Run, command

if TYPE_CHECKING:
    from devflow_core.settings import Settings
    from devflow_openrouter.analytics import Report

By = Literal[
    "model", "provider", "task", "session", "project", "branch", "agent", "key", "node", "day"
]
BY: Mapping[str, By] = {name: name for name in get_args(By)}
Format = Literal["table", "json", "csv", "md", "html"]


@command(app)
def report(
    run: Run,
    by: Annotated[By, typer.Option(help="What the rows are.")] = "model",
    since: Annotated[
        str | None, typer.Option(help="From this day or time (UTC), inclusive; or 7d, 24h.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Up to this day or time, exclusive.")] = None,
    form: Annotated[Format, typer.Option("--format", help="How to write it.")] = "table",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file instead of stdout.")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="The model that savings are counted against.")
    ] = None,
) -> None:
    """Report cost, usage and performance, savings against a baseline, and recommendations."""
    from devflow_cli.render import report_table

    made = make_report(
        run.settings(baseline_model=baseline),
        by,
        since=moment(since),
        until=moment(until),
        with_days=form == "html",
    )
    if run.as_json or (form == "json" and output is None):
        run.emit(made.document())
    elif form == "table" and output is None:
        report_table(run, made)
    else:
        _write(run, _text(made, form), output)


def make_report(
    settings: Settings,
    by: By = "model",
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    with_days: bool = False,
) -> Report:
    """The report over the settings' ledger; the HTML page also shows the days."""
    from devflow_openrouter.analytics import Reporter
    from devflow_server import wiring

    reporter = Reporter(
        wiring.ledger_reader(settings),
        price_of=wiring.price_list(wiring.catalogue(settings)),
        baseline_model=settings.baseline_model,
    )
    return reporter.report(by, since=since, until=until, with_days=with_days)


def moment(text: str | None) -> datetime | None:
    """A day, a time (UTC where none is said), or a span back from now (`7d`, `24h`)."""
    import re
    from datetime import UTC, timedelta

    if text is None:
        return None
    span = re.fullmatch(r"(\d{1,5})([dh])", text)
    if span:
        back = timedelta(days=int(span[1])) if span[2] == "d" else timedelta(hours=int(span[1]))
        return datetime.now(UTC) - back
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no day, time or span; as in 2026-11-21, 2026-11-21T09:00 or 7d"
        ) from None
    return given if given.tzinfo else given.replace(tzinfo=UTC)


def _text(made: Report, form: Format) -> str:
    from devflow_openrouter.analytics import to_csv, to_html, to_markdown

    if form == "html":
        return to_html(made)
    if form == "csv":
        return to_csv(made)
    if form == "json":
        import orjson

        return orjson.dumps(made.document(), option=orjson.OPT_INDENT_2).decode() + "\n"
    return to_markdown(made)


def _write(run: Run, text: str, output: Path | None) -> None:
    if output is None:
        sys.stdout.write(text)
        return
    output.write_text(text, encoding="utf-8")
    run.remark(f"Written to {output}.")
