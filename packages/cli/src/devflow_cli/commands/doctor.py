"""`devflow doctor`: checks this setup, or the contract of any gateway."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from devflow_cli.app import app
from devflow_cli.run import DONE, FAILED, Run, command

if TYPE_CHECKING:
    from devflow_core.settings import Settings


@command(app)
async def doctor(
    run: Run,
    url: Annotated[str | None, typer.Option(help="Check the gateway at this URL instead.")] = None,
    key: Annotated[
        str | None, typer.Option(envvar="DEVFLOW_CLIENT_KEY", help="A client key of that gateway.")
    ] = None,
    claude_code: Annotated[
        bool, typer.Option("--claude-code", help="Check every clause that Claude Code relies on.")
    ] = False,
) -> int:
    """Check this setup; with --url, check that a gateway keeps what its clients rely on."""
    if url is None:
        findings = _check_setup(run.settings())
    else:
        from devflow_cli import conformance

        found = await conformance.run_checks(url, key=key, claude_code=claude_code)
        findings = [
            {"name": one.name, "ok": one.ok, "detail": one.detail, "clause": one.clause}
            for one in found
        ]
    if run.as_json:
        run.emit({"ok": all(one["ok"] for one in findings), "findings": findings})
    else:
        for one in findings:
            run.say(f"{'ok  ' if one['ok'] else 'FAIL'}  {one['name']}: {one['detail']}")
    return DONE if all(one["ok"] for one in findings) else FAILED


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
        *_check_integration(settings),
    ]


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
