"""`devflow report`: shows where the money went, how fast it was, and what to improve."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from devflow_core.dimensions import GROUPINGS

from devflow_cli.app import app
from devflow_cli.completion import complete_model
from devflow_cli.options import parse_dimensions
from devflow_cli.run import Run, command
from devflow_cli.times import Since, Until, parse_period

if TYPE_CHECKING:
    from devflow_analytics import Report

Format = Literal["table", "json", "csv", "md", "html", "pdf"]


@command(app, has_table=True)
def report(
    run: Run,
    by: Annotated[
        str,
        typer.Option(
            help=f"What to group the rows by: one of {', '.join(GROUPINGS)}; or two of them, such"
            " as project,model."
        ),
    ] = "model",
    since: Since = None,
    until: Until = None,
    form: Annotated[Format, typer.Option("--format", help="Output format.")] = "table",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to a file instead of stdout.")
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            help="The model that savings are compared with.", autocompletion=complete_model
        ),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Print the table anew every few seconds, until Ctrl-C.")
    ] = False,
) -> None:
    """Report cost, usage and performance, savings against a baseline, and recommendations."""
    from devflow_gateway import wiring

    from devflow_cli.live import refresh
    from devflow_cli.lookup import has_ledger
    from devflow_cli.matching import explain_empty_ledger_period
    from devflow_cli.views.report import print_report

    if form == "pdf" and output is None and not run.as_json:
        raise typer.BadParameter("needs a file: --output FILE", param_hint="--format pdf")
    settings = run.settings(baseline_model=baseline)
    since_at, until_at = parse_period(settings, since, until)
    has_ledger(run, settings)
    make = partial(
        wiring.make_report,
        settings,
        parse_dimensions(by),
        since=since_at,
        until=until_at,
        with_days=form in ("html", "pdf"),
    )
    if watch:
        if run.as_json or form != "table" or output is not None:
            raise typer.BadParameter("shows a table on the terminal", param_hint="--watch")
        refresh(run, lambda: print_report(run, make()))
        return
    made = make()
    if not made.total.requests and not made.total.attempts:
        explain_empty_ledger_period(run, settings, (since_at, until_at))
    if run.as_json or (form == "json" and output is None):
        run.emit(made.as_json())
    elif form == "table" and output is None:
        print_report(run, made)
    else:
        _write(run, _render(made, form), output)


def _render(made: Report, form: Format) -> str | bytes:
    from devflow_analytics import to_csv, to_html, to_markdown

    if form == "pdf":
        from devflow_cli.browser import print_pdf

        return print_pdf(to_html(made))
    if form == "html":
        return to_html(made)
    if form == "csv":
        return to_csv(made)
    if form == "json":
        import orjson

        return orjson.dumps(made.as_json(), option=orjson.OPT_INDENT_2).decode() + "\n"
    return to_markdown(made)


def _write(run: Run, content: str | bytes, output: Path | None) -> None:
    if output is None:
        sys.stdout.write(content if isinstance(content, str) else "")
        return
    from devflow_core.private_files import refuse_links_below

    encoded = content.encode() if isinstance(content, str) else content
    # a link in the working directory may have come with a repository, and lead anywhere
    refuse_links_below(output, Path.cwd()).write_bytes(encoded)
    run.remark(f"Written to {output}.")
