"""`devflow doctor`: checks this setup, or how any gateway behaves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from devflow_cli.app import app
from devflow_cli.run import DONE, FAILED, Run, command

if TYPE_CHECKING:
    from devflow_core.settings import Settings

    from devflow_cli.conformance import Examination


@command(app, has_table=True)
async def doctor(
    run: Run,
    url: Annotated[
        str | None, typer.Option(help="Examine the gateway at this URL instead.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(envvar="DEVFLOW_CLIENT_KEY", help="A client key of that gateway.")
    ] = None,
    claude_code: Annotated[
        bool, typer.Option("--claude-code", help="Examine Messages, as Claude Code uses them.")
    ] = False,
    codex: Annotated[
        bool, typer.Option("--codex", help="Examine Responses, as Codex uses them.")
    ] = False,
    openai: Annotated[
        bool, typer.Option("--openai", help="Examine chat completions, as OpenAI's SDKs use them.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(help="The model to ask.  [default: a cheap one]", show_default=False),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Check this clause only, such as messages.cache or 'chat.*'; repeatable."
        ),
    ] = None,
    max_cost_usd: Annotated[
        str, typer.Option(help="The most that the models' replies may cost, in USD.")
    ] = "0.15",
    stand_in: Annotated[
        str | None,
        typer.Option(help="URL of the `devflow sandbox` that is that gateway's upstream."),
    ] = None,
    junit: Annotated[
        Path | None, typer.Option(help="Write the findings to this file as JUnit's XML.")
    ] = None,
) -> int:
    """Check this setup; with --url, examine whether a gateway behaves as its clients expect.

    The exit status is 1 if a check fails.
    """
    if url is None:
        return _report_setup(run, _check_setup(run.settings()))
    from devflow_cli.conformance import Examination, Group
    from devflow_cli.options import read_amount

    flags: dict[Group, bool] = {"messages": claude_code, "responses": codex, "chat": openai}
    examination = Examination(
        url=url,
        key=key,
        groups=tuple(group for group, is_asked in flags.items() if is_asked),
        only=tuple(only or ()),
        model=model,
        limit_usd=read_amount(max_cost_usd, "--max-cost-usd"),
        stand_in=stand_in,
    )
    return await _examine(run, examination, junit)


async def _examine(run: Run, examination: Examination, junit: Path | None) -> int:
    from devflow_core.addresses import hide_user_info

    from devflow_cli import conformance
    from devflow_cli.views import examination as view

    with run.progress.status("Examining …") as status:
        findings = await conformance.examine(
            examination, lambda clause: status.update(f"{clause.name}: {clause.sentence}")
        )
    if junit is not None:
        # the file may be published, and a URL can hold a password
        view.write_junit(findings, hide_user_info(examination.url), junit)
    if run.as_json:
        run.emit(view.findings_as_json(findings))
    else:
        view.print_findings(run, findings)
    return FAILED if any(one.outcome == "failed" for one in findings) else DONE


def _report_setup(run: Run, findings: list[dict[str, Any]]) -> int:
    is_ok = all(one["ok"] for one in findings)
    if run.as_json:
        run.emit({"ok": is_ok, "findings": findings})
    for one in findings:
        run.say(f"{'ok  ' if one['ok'] else 'FAIL'}  {one['name']}: {one['detail']}")
    return DONE if is_ok else FAILED


def _check_setup(settings: Settings) -> list[dict[str, Any]]:
    import shutil

    from devflow_claude_code import find_hints
    from devflow_gateway import wiring

    others = sum(len(one.keys()) for one in settings.providers.values())
    keys = len(settings.server_keys()) + others
    # a check must not create an empty ledger
    checked = wiring.make_store(settings).verify() if wiring.has_ledger(settings) else None
    claude = shutil.which("claude")
    return [
        {
            "name": "keys",
            "ok": keys > 0,
            "detail": f"{keys} provider key{'s' * (keys != 1)} set"
            + ("" if keys else "; `devflow demo` needs none"),
        },
        {
            "name": "ledger",
            "ok": checked is None or checked.ok,
            "detail": "not begun yet"
            if checked is None
            else f"{checked.entries} entries, "
            + ("chain whole" if checked.ok else f"row {checked.first_bad}: {checked.reason}"),
        },
        {
            "name": "sessions",
            "ok": True,
            "detail": str(settings.claude_dir)
            + ("" if settings.claude_dir.is_dir() else " does not exist: no Claude Code sessions")
            + "".join(f". {hint}" for hint in find_hints(settings.claude_dir)),
        },
        {
            "name": "claude",
            "ok": True,
            "detail": claude or "not on the PATH; only `devflow claude` needs it",
        },
        _check_learned(settings),
        *_check_preferred(settings),
        *_check_integration(settings),
    ]


def _check_learned(settings: Settings) -> dict[str, Any]:
    """Report the learned table in use; it fails where there is one that cannot be read."""
    from devflow_core.errors import ConfigurationError
    from devflow_routing import LearnedFolder

    try:
        table = LearnedFolder(settings.data_dir).load()
    except ConfigurationError as error:
        return {"name": "learned", "ok": False, "detail": f"not used: {error.message}"}
    detail = "nothing; the choice goes by public evidence"
    if table is not None:
        facts = table.facts
        detail = (
            f"table {table.version} of {facts.answers} answers of {len(table.models)} models,"
            f" from {facts.source}; `devflow routing show`"
        )
    return {"name": "learned", "ok": True, "detail": detail}


def _check_preferred(settings: Settings) -> list[dict[str, Any]]:
    """Say which models the names in `preferred_models` stand for; nothing if there are none."""
    from devflow_gateway import wiring

    preferred = wiring.make_router(settings).preferred
    if not preferred:
        return []
    said = [
        name if name == model else f"{name} is {model or 'not a model of the catalogue'}"
        for name, model in preferred.items()
    ]
    is_known = None not in preferred.values()
    return [{"name": "preferred models", "ok": is_known, "detail": ", ".join(said)}]


def _check_integration(settings: Settings) -> list[dict[str, Any]]:
    from importlib import metadata

    from devflow_claude_code import check_integration

    from devflow_cli.own_program import find_own_program, lasting_search_path

    found = check_integration(
        config_dir=settings.claude_dir,
        project=Path.cwd(),
        program=find_own_program().path,
        search_path=lasting_search_path(),
        version=metadata.version("devflow-gateway-cli"),
    )
    return [{"name": one.name, "ok": one.is_ok, "detail": one.detail} for one in found]
