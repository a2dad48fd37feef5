"""`devflow ledger`: verifies, reconciles, lists, exports, backs up and erases."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from devflow_cli.app import app
from devflow_cli.completion import complete_model
from devflow_cli.lookup import require_ledger
from devflow_cli.options import read_amount
from devflow_cli.run import DONE, FAILED, Run, command
from devflow_cli.times import Since, Until, parse_period

if TYPE_CHECKING:
    from devflow_core.errors import NotFound
    from devflow_store import Store

ledger = typer.Typer(help="Check, reconcile, export and back up the ledger.", no_args_is_help=True)
app.add_typer(ledger, name="ledger")


def _open_store(run: Run) -> Store:
    """Return the store of the ledger; enter it to write.

    Raises:
        NotFound: nothing was ever booked.
    """
    from devflow_gateway import wiring

    settings = run.settings()
    require_ledger(settings)
    return wiring.make_store(settings)


def _no_session(store: Store, session: str) -> NotFound:
    from devflow_cli.matching import no_match

    known = [name for (name,) in store.aggregate(("session",), with_times=False) if name]
    remedy = "`devflow report --by session` shows the sessions that have one."
    return no_match("entry of the ledger is of the session", session, known, remedy)


@command(ledger)
def verify(run: Run) -> int:
    """Check the hash chain; if a row was changed afterwards, name the first such row and exit 1."""
    found = _open_store(run).verify()
    if run.as_json:
        run.emit(dataclasses.asdict(found))
    elif found.ok:
        run.say(f"The ledger is intact: {found.entries} entries, head {found.head}.")
    else:
        run.say(f"Row {found.first_bad} was changed after it was written: {found.reason}")
    return DONE if found.ok else FAILED


@command(ledger, has_table=True)
async def reconcile(
    run: Run,
    days: Annotated[int, typer.Option(help="Number of days to reconcile, without today.")] = 7,
    patience_s: Annotated[
        float,
        typer.Option(
            help="Age in seconds from which a call that the provider does not know is settled."
        ),
    ] = 30.0,
) -> int:
    """Look up unconfirmed costs, and compare completed days with the provider's bill."""
    from devflow_gateway import wiring

    settings = run.settings()
    # before the ledger is opened: without a key nobody can be asked
    settings.require_keys()
    require_ledger(settings)
    with run.progress.status("Asking the provider …"):
        result = await wiring.reconcile(settings, days=days, patience_s=patience_s)
    document = result.as_json()
    if run.as_json:
        run.emit(document)
    else:
        from devflow_cli.views.books import print_reconciliation

        print_reconciliation(run, document)
    return DONE


@command(ledger, has_table=True)
def requests(
    run: Run,
    since: Since = None,
    until: Until = None,
    model: Annotated[
        str | None,
        typer.Option(help="Only this model's answers.", autocompletion=complete_model),
    ] = None,
    provider: Annotated[str | None, typer.Option(help="Only this provider's answers.")] = None,
    key: Annotated[str | None, typer.Option(help="Only of the client key of this name.")] = None,
    project: Annotated[str | None, typer.Option(help="Only of this project.")] = None,
    session: Annotated[str | None, typer.Option(help="Only of this session.")] = None,
    outcome: Annotated[
        str | None, typer.Option(help="succeeded, failed, or the code of an error.")
    ] = None,
    min_usd: Annotated[
        str | None, typer.Option(metavar="USD", help="Only what cost as much or more.")
    ] = None,
    max_usd: Annotated[
        str | None, typer.Option(metavar="USD", help="Only what cost as much or less.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="The most requests to show.")] = 50,
    cursor: Annotated[
        str | None, typer.Option(help="Continue after the page that showed this cursor.")
    ] = None,
) -> None:
    """List requests, newest first, without any text of theirs."""
    from devflow_gateway import wiring
    from devflow_store import RequestFilter

    from devflow_cli.views.requests import show_requests

    settings = run.settings()
    require_ledger(settings)
    since_at, until_at = parse_period(settings, since, until)
    chosen = RequestFilter(
        since=since_at,
        until=until_at,
        model=model,
        provider=provider,
        client_key=key,
        project=project,
        session=session,
        outcome=outcome,
        min_usd=None if min_usd is None else read_amount(min_usd, "--min-usd"),
        max_usd=None if max_usd is None else read_amount(max_usd, "--max-usd"),
    )
    page = wiring.make_store(settings).requests(chosen, limit=limit, cursor=cursor)
    show_requests(run, page)


@command(ledger)
def export(
    run: Run,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file instead of stdout.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV instead of JSON lines.")] = False,
    session: Annotated[str | None, typer.Option(help="Only this session.")] = None,
) -> None:
    """Write every entry as JSON lines or CSV, never with the text of a prompt.

    A file that exists already is not overwritten.
    """
    store = _open_store(run)
    if session is not None and next(iter(store.entries(session_id=session)), None) is None:
        raise _no_session(store, session)
    lines = store.export(export_format="csv" if as_csv else "jsonl", session_id=session)
    if run.as_json:
        if as_csv:
            raise typer.BadParameter("cannot be combined with --json", param_hint="--csv")
        lines = _json_lines(lines)
    if output is None:
        sys.stdout.writelines(lines)
        return
    # "x": an earlier export is not overwritten
    with output.open("x", encoding="utf-8") as file:
        file.writelines(lines)
    run.remark(f"Written to {output}.")


def _json_lines(lines: Iterator[str]) -> Iterator[str]:
    """Wrap the lines as one JSON document, one entry per line, without holding all in memory."""
    yield '{"entries": [\n'
    for number, line in enumerate(lines):
        yield (",\n" if number else "") + line.rstrip("\n")
    yield "\n]}\n"


@command(ledger)
async def backup(
    run: Run, target: Annotated[Path, typer.Argument(help="The file to write.")]
) -> None:
    """Copy the ledger to a new file while it is in use, and verify the copy."""
    async with _open_store(run) as store:
        await store.backup(target)
    if run.as_json:
        run.emit({"path": target})
    else:
        run.say(f"The ledger was copied to {target}, and the copy was verified.")


@command(ledger)
def restore(
    run: Run, source: Annotated[Path, typer.Argument(help="A file that `backup` wrote.")]
) -> None:
    """Replace the ledger with a backup; the present file is kept beside it."""
    from devflow_core.errors import ConfigurationError
    from devflow_gateway import wiring
    from devflow_store import restore as restore_backup

    settings = run.settings()
    if settings.ledger_url is not None:
        raise ConfigurationError(
            "The settings name another ledger (ledger_url); `restore` is for the file in the"
            " data folder. A ledger in PostgreSQL is restored by `pg_restore`."
        )
    former = restore_backup(source, settings.data_dir / wiring.LEDGER_FILE)
    if run.as_json:
        run.emit({"restored": source, "kept": former})
    else:
        run.say(f"Restored from {source}." + (f" The former file is {former}." if former else ""))
        run.say(
            "Client keys and budgets are those of the backup. Keys revoked since then are valid"
            " again: check `devflow keys list` and `devflow budget list`."
        )


@command(ledger)
async def erase(
    run: Run,
    session: Annotated[str, typer.Option(help="The session whose rows lose their labels.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
) -> None:
    """Erase what is stored about a session; the chain of amounts stays intact."""
    if not yes:
        typer.confirm(
            f"Erase what the ledger stores about session {session}?", abort=True, err=True
        )
    async with _open_store(run) as store:
        count = await store.erase(session_id=session)
        if not count:
            raise _no_session(store, session)
    if run.as_json:
        run.emit({"erased": count})
    else:
        run.say(f"{count} entries erased.")


@command(ledger)
async def upstream(
    run: Run,
    accept: Annotated[
        bool,
        typer.Option("--accept", help="Take the settings' base URL for this ledger's from now on."),
    ] = False,
) -> None:
    """Show which upstream this ledger's calls went to; calls to another one are refused."""
    from devflow_gateway import wiring
    from devflow_store import describe_upstream

    settings = run.settings()
    store = wiring.make_store(settings)
    if accept:
        async with store:
            await store.origin.accept(settings.upstream)
    noted = store.origin.read() if wiring.has_ledger(settings) else None
    if run.as_json:
        run.emit({"upstream": noted, "settings": settings.upstream})
        return
    run.say(f"Calls here go to {describe_upstream(noted)}." if noted else "No call is noted yet.")
    if noted not in (None, settings.upstream):
        run.say(f"The settings name {describe_upstream(settings.upstream)}.")
