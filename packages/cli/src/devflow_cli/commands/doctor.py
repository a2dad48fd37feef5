"""`devflow doctor`: checks this setup, or how any gateway behaves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from devflow_cli.app import app
from devflow_cli.run import DONE, FAILED, Run, command
from devflow_cli.setup_checks import check_setup

if TYPE_CHECKING:
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
    offline: Annotated[
        bool, typer.Option("--offline", help="Do not ask the provider about the keys.")
    ] = False,
    junit: Annotated[
        Path | None, typer.Option(help="Write the findings to this file as JUnit's XML.")
    ] = None,
) -> int:
    """Check this setup; with --url, examine whether a gateway behaves as its clients expect.

    The exit status is 1 if a check fails.
    """
    if url is None:
        return await check_setup(run, is_offline=offline)
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
