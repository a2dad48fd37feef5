"""`devflow demo`: runs the handoff end to end, against the stand-in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from devflow_cli.app import app
from devflow_cli.run import Run, command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from devflow_analytics import Report
    from devflow_claude_code import ClaudeCodeSession
    from devflow_core.settings import Settings

PROMPT = "The usage limit has ended the session. Say what is done, then do what is left."


@command(app, has_table=True)
async def demo(
    run: Run,
    session: Annotated[
        Path | None, typer.Option(help="Your own transcript instead of the recorded one.")
    ] = None,
    model: Annotated[str, typer.Option(help="See `ask`.")] = "auto",
) -> None:
    """Continue a recorded Claude Code session with another model; needs no key, costs nothing.

    Then a budget refuses a model and another one answers. Nothing leaves this machine: a stand-in
    for the provider answers, at the provider's prices.
    """
    from devflow_claude_code import ClaudeCodeSession
    from devflow_core.settings import API_KEY_VARIABLES
    from devflow_core.usage import format_usd, from_pico
    from devflow_gateway import wiring

    from devflow_cli.demo_scenes import play_budget_scene
    from devflow_cli.sandbox_process import run_sandbox
    from devflow_cli.views.lean import lean_completion
    from devflow_cli.views.report import print_report

    settings = run.settings()
    transcripts = [session] if session else find_recorded_sessions()
    sessions = [ClaudeCodeSession.open(one) for one in transcripts]
    with run_sandbox() as sandbox:
        settings = sandbox.apply_to(settings, settings.data_dir / "demo")
        run.say("DevFlow demo. The stand-in answers; nothing leaves this machine.\n")
        shown = await _run_main_job(run, settings, sessions[0], model)
        # while the stand-in still runs, which keeps its bill in memory
        shown["bill"] = _fetch_bill(sandbox.bill_url, shown["generation_id"])
        _check_bill(run, shown)
        shown["budget_scene"] = await play_budget_scene(run, settings)
    report = wiring.make_report(settings, with_days=True)
    recorded, html = _write_page(settings, report, sessions)
    if run.as_json:
        documents = {"report": report.as_json(), "recorded": recorded.as_json()}
        run.emit({**shown, **documents, "html": str(html)}, lean_completion)
        return
    print_report(run, report)
    spent = format_usd(from_pico(recorded.total.cost_pico))
    models = (
        f"{name} {format_usd(from_pico(row.cost_pico))}" for name, row in recorded.models.items()
    )
    run.say(f"\nRecorded {spent} that the sessions had spent without DevFlow: {', '.join(models)}.")
    run.say("         By their transcripts, at list prices; it is not in the ledger.")
    run.say(f"Report   {html}  (both, by day, model and project: open it in a browser)")
    run.say(
        f"\nWith {API_KEY_VARIABLES[1]} set, `uv run devflow handoff` does this with your own work."
    )


def _write_page(
    settings: Settings, report: Report, sessions: Sequence[ClaudeCodeSession]
) -> tuple[Report, Path]:
    """Write the page: what the gateway booked, then what the sessions recorded by themselves.

    Returns:
        The report of the recorded sessions, and the path of the page.
    """
    from devflow_analytics import Chapter, to_html
    from devflow_core.private_files import replace_file
    from devflow_gateway import wiring

    from devflow_cli.recorded import RECORDED_NOTE, make_recorded_report

    price_of = wiring.open_catalogue(settings).price_of
    recorded = make_recorded_report(sessions, ("model", "session"), price_of, with_days=True)
    projects = make_recorded_report(sessions, ("project", "model"), price_of)
    html = settings.data_dir / "report.html"
    page = to_html(
        report,
        Chapter(title="The recorded sessions", note=RECORDED_NOTE, report=recorded),
        Chapter(title="The same by project", note=RECORDED_NOTE, report=projects),
    )
    replace_file(html, page.encode())
    return recorded, html


def find_recorded_sessions() -> list[Path]:
    """Return the transcripts of sessions recorded from real Claude Code; there is at least one.

    Raises:
        SessionError: the examples are missing (an installed wheel has none).
    """
    from devflow_core.errors import SessionError

    # works from any checkout; an installed wheel has no examples
    for folder in Path(__file__).parents:
        found = sorted((folder / "examples" / "sessions").glob("**/*.jsonl"))
        if found:
            return found
    raise SessionError(
        "The recorded sessions are in the repository, under examples/sessions. "
        "Give your own transcript with --session."
    )


async def _run_main_job(
    run: Run, settings: Settings, session: ClaudeCodeSession, model: str
) -> dict[str, Any]:
    from devflow_core.request import ChatRequest
    from devflow_gateway import wiring
    from devflow_routing import route_as_json

    from devflow_cli.views.reply import ask_and_show, completion_document

    run.say(f"Session  {session.session_id}  ({session.path})")
    async with wiring.open_gateway(settings) as gateway:
        request = ChatRequest.from_text(PROMPT, model=model)
        reply = await ask_and_show(run, gateway, request, session=session, write_line=run.say)
    return {**completion_document(reply, route_as_json(reply.route)), "session": str(session.path)}


def _fetch_bill(url: str, generation_id: str) -> dict[str, Any]:
    """Return what the stand-in's own book says about this call."""
    import urllib.request

    import orjson

    with urllib.request.urlopen(url, timeout=10) as reply:  # noqa: S310 - our own loopback server
        calls = orjson.loads(reply.read())["calls"]
    return next(one for one in calls if one["generation_id"] == generation_id)


def _check_bill(run: Run, shown: dict[str, Any]) -> None:
    """Compare our book with the stand-in's.

    Raises:
        LedgerCorrupt: they differ, which must never happen.
    """
    from decimal import Decimal

    from devflow_core.errors import LedgerCorrupt

    ours, billed = shown["cost_usd"], shown["bill"]["cost_usd"]
    if Decimal(ours) != Decimal(billed):
        raise LedgerCorrupt(f"The ledger says {ours} USD and the bill {billed} USD.")
    run.say(f"Bill     {billed} USD by the stand-in's own book: they agree.\n")
