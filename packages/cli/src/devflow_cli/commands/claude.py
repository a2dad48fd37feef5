"""`devflow claude`, and the commands that Claude Code calls: hook, status line, MCP server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from devflow_cli.app import app
from devflow_cli.completion import complete_model
from devflow_cli.deadline import try_within, write_quietly
from devflow_cli.options import ProjectFolder
from devflow_cli.run import FAILED, Run, command

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from decimal import Decimal

    from devflow_core.settings import Settings

    from devflow_cli import launch

HOOK_TIMEOUT_S = 8.0
"""Seconds for a hook: below the 10 s that the installer asks Claude Code to wait for it."""
STATUS_TIMEOUT_S = 3.0
"""Seconds for each step of a status line; a working ledger answers in milliseconds."""
CANNOT_EXECUTE = 126
"""The shells' status for a program that is found but cannot be started."""
STOP_TIMEOUT_S = 10.0
"""Seconds that Claude Code may take to end after this process was asked to end."""
MAX_EVENT_BYTES = 16 * 1024 * 1024
"""The most bytes of an event that are read; a longer one is cut, and ignored as invalid JSON."""


@app.command("claude", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def claude(
    context: typer.Context,
    model: Annotated[
        str | None,
        typer.Option(
            help="A model id or auto; else the nodes' own models.", autocompletion=complete_model
        ),
    ] = None,
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="Use the stand-in instead of a provider.")
    ] = False,
) -> None:
    """Run Claude Code through the gateway, for this run only; other arguments go to Claude Code.

    No settings file is changed. `devflow claude --resume ID --model MODEL` opens the same session
    with another model; `claude --resume ID` is the way back, and is shown at the end.
    """
    import asyncio
    import shutil
    from contextlib import ExitStack

    from devflow_core.errors import ConfigurationError
    from devflow_core.repository import FolderLabels

    from devflow_cli import launch
    from devflow_cli.sandbox_process import run_sandbox

    run = Run()
    settings = run.settings()
    # before the stand-in or the gateway is started in vain
    if shutil.which("claude") is None:
        raise ConfigurationError(
            "Claude Code is not on the PATH: npm install -g @anthropic-ai/claude-code"
        )
    with ExitStack() as stack:
        if sandbox:
            settings = stack.enter_context(run_sandbox()).apply_to(settings)
            run.remark(f"The stand-in answers. Its ledger is apart from yours: {settings.data_dir}")
        else:
            settings.require_keys()
        # the node's own model would replace the one that was asked for
        if model is not None:
            settings = settings.model_copy(update={"nodes": launch.free_main_node(settings)})
        sessions = launch.SessionWatch(FolderLabels(Path.cwd()).apply)
        status = asyncio.run(_run_claude(settings, context.args, model, sessions))
    if status == CANNOT_EXECUTE:
        run.remark("Install Claude Code again: npm install -g @anthropic-ai/claude-code")
        raise typer.Exit(FAILED)
    if (way_back := launch.find_way_back(settings, sessions.session_id)) is not None:
        run.remark(f"Go on without DevFlow with:  {way_back}")
    raise typer.Exit(status)


async def _run_claude(
    settings: Settings, arguments: list[str], model: str | None, sessions: launch.SessionWatch
) -> int:
    """Serve on a free port with a key for this run only; return Claude Code's exit status."""
    import asyncio
    import secrets

    from devflow_claude_code import plan_launch
    from devflow_core.environment import copy_environment
    from devflow_core.processes import end_with_us
    from devflow_server import run_gateway

    from devflow_cli.launch import find_window_tokens

    # lives as long as this run and is stored nowhere
    key = "devflow_" + secrets.token_urlsafe(24)
    # a fixed port might belong to a gateway that is already running
    free_port = settings.model_copy(update={"port": 0})
    window_tokens = find_window_tokens(settings, model)
    async with run_gateway(free_port, local_key=key, label=sessions) as server:
        wanted = ("--model", model) if model else ()
        ready = plan_launch(
            server.url,
            key,
            (*wanted, *arguments),
            copy_environment(),
            window_tokens=window_tokens,
        )
        child = await asyncio.create_subprocess_exec(
            *end_with_us(ready.argv), env=dict(ready.environment)
        )
        return await _wait_for_child(child)


async def _wait_for_child(child: Process) -> int:
    """Wait for the child, ending it if we are asked to end; return its status as a shell would."""
    import asyncio

    from devflow_core.processes import wait_for_signal

    ended, asked = asyncio.ensure_future(child.wait()), asyncio.ensure_future(wait_for_signal())
    try:
        await asyncio.wait((ended, asked), return_when=asyncio.FIRST_COMPLETED)
    finally:
        asked.cancel()
        # it may still have the end of its session to write, so it is not killed at once
        if child.returncode is None:
            child.terminate()
            await asyncio.wait((ended,), timeout=STOP_TIMEOUT_S)
        if child.returncode is None:
            child.kill()
        status = await ended
    # asyncio reports a signal as a negative number; shells as 128 plus the signal
    return 128 - status if status < 0 else status


@command(app)
def hook(run: Run) -> None:
    """Answer a hook of Claude Code: read its JSON on stdin, write the answer to stdout.

    It never fails. If there is nothing to say, it prints nothing.
    """
    write_quietly(try_within(HOOK_TIMEOUT_S, lambda: _answer_hook(run), ""))


def _answer_hook(run: Run) -> str:
    from devflow_claude_code import run_hook

    from devflow_cli.own_program import find_own_program

    # the folder may have come with a repository, and a hook can ask nobody whether to trust it
    settings = run.settings(reads_folder=False)
    event = sys.stdin.buffer.read(MAX_EVENT_BYTES)
    command = find_own_program().call_words
    return run_hook(event, config_dir=settings.claude_dir, command=command).stdout


@command(app)
def statusline(run: Run) -> None:
    """Write the status line: model, cost, cost through the gateway, share of the window used.

    It never fails; figures that do not arrive in time are left out.
    """
    from devflow_claude_code import render_status_line

    event = try_within(STATUS_TIMEOUT_S, lambda: sys.stdin.buffer.read(MAX_EVENT_BYTES), b"")
    line = try_within(STATUS_TIMEOUT_S, lambda: _render_status(run, event), "")
    # second attempt without prices or ledger: what the client reports needs neither
    if not line:
        line = try_within(
            STATUS_TIMEOUT_S, lambda: render_status_line(event, price_of=lambda _: None), "DevFlow"
        )
    write_quietly(line + "\n")


def _render_status(run: Run, event: bytes) -> str:
    from devflow_claude_code import render_status_line
    from devflow_gateway import wiring

    settings = run.settings(reads_folder=False)
    price_of = wiring.open_catalogue(settings).price_of

    def spent_usd(session_id: str) -> Decimal | None:
        # reading must not create an empty ledger
        if not wiring.has_ledger(settings):
            return None
        costs = [one.cost_usd for one in wiring.make_store(settings).entries(session_id=session_id)]
        return sum(costs[1:], costs[0]) if costs else None

    return render_status_line(event, price_of=price_of, spent_usd=spent_usd)


@command(app)
async def mcp(run: Run, project: ProjectFolder = None) -> None:
    """Serve the MCP tools ask, handoff, report and explain on stdin and stdout.

    Clients can name only sessions of the project, by their ids.
    """
    from devflow_claude_code import serve_mcp
    from devflow_gateway import wiring

    from devflow_cli.mcp_tools import build_mcp_tools

    # as for the hook: nobody can be asked whether to trust the folder
    settings = run.settings(reads_folder=False)
    settings.require_keys()
    # the client is a model, which must not make the user's command read what it likes
    settings = settings.model_copy(update={"verify": ()})
    folder = project or Path.cwd()
    async with wiring.open_gateway(settings, folder=folder) as gateway:
        tools = build_mcp_tools(settings, gateway, folder)
        await serve_mcp(tools, sys.stdin.buffer, sys.stdout.buffer)
