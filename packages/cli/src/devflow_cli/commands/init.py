"""`devflow init`: stores a key, checks it, finds Claude Code, and says what to do next."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from devflow_cli.app import app
from devflow_cli.run import DONE, Run, command

if TYPE_CHECKING:
    from devflow_core.settings import Settings

MAX_KEY_CHARS = 4096


@command(app)
async def init(
    run: Run,
    key_stdin: Annotated[
        bool, typer.Option("--key-stdin", help="Read the key from standard input.")
    ] = False,
    new_key: Annotated[
        bool, typer.Option("--new-key", help="Ask for a key even if there is one.")
    ] = False,
    integrate: Annotated[
        bool | None,
        typer.Option(
            "--integrate/--no-integrate",
            help="Add hooks and status line to Claude Code's settings.  [default: ask]",
            show_default=False,
        ),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Do not check the key by asking the provider.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Answer yes to every question.")] = False,
) -> int:
    """Set up DevFlow: a key, the way into Claude Code, and what to do next.

    It may be run again at any time: what is there already stays as it is.
    """
    settings = run.settings(reads_folder=False)
    document = await _set_key(run, settings, key_stdin=key_stdin, new_key=new_key, offline=offline)
    wanted = True if yes and integrate is None else integrate
    document["claude_code"] = _join_claude_code(run, settings, wanted)
    for at, (words, meaning) in enumerate(_NEXT.items()):
        run.say(f"{'         ' if at else 'Next     '}{words:31}{meaning}")
    if run.as_json:
        run.emit(document)
    return DONE


async def _set_key(
    run: Run, settings: Settings, *, key_stdin: bool, new_key: bool, offline: bool
) -> dict[str, Any]:
    """Find or ask for the key, check it, and store a new one; return what to report of it."""
    from devflow_core.environment import copy_environment
    from devflow_core.settings_sources import find_config_dir
    from devflow_core.stored_key import store_key

    known = settings.server_keys() if not (key_stdin or new_key) else ()
    if known:
        run.say(f"Key      {len(known)} set already; --new-key asks for another.")
        key, where = known[0], "set already"
    else:
        key, where = _ask_for_key(run, key_stdin=key_stdin), ""
    check = "not checked" if offline else await _check(run, settings, key)
    if not where:
        stored = store_key(find_config_dir(copy_environment()), settings.base_url, key)
        where = stored.place
        run.say(f"Key      kept in {where}.")
        _warn_of_others(run, settings)
    return {"key": where, "check": check, "next": list(_NEXT)}


_NEXT = {
    'devflow ask "Hello"': "one question, with its cost",
    "devflow claude": "Claude Code through DevFlow",
    "devflow costs": "what Claude Code has cost on this machine",
    "devflow budget set --limit 20": "at most 20 USD a month",
    "devflow doctor": "whether all of it works",
}


def _ask_for_key(run: Run, *, key_stdin: bool) -> str:
    """Return the key from standard input, or typed without an echo.

    Raises:
        ConfigurationError: there is no one to ask, or what was given cannot be a key.
    """
    from getpass import getpass

    from devflow_core.errors import ConfigurationError
    from devflow_core.settings import API_KEY_VARIABLES
    from devflow_gateway.wiring import KEYS_PAGE

    if key_stdin:
        key = sys.stdin.readline(MAX_KEY_CHARS).strip()
    elif sys.stdin.isatty() and not run.as_json:
        key = getpass(f"Key from {KEYS_PAGE} (it is not shown): ").strip()
    else:
        raise ConfigurationError(
            "There is no terminal to ask for a key. Give it on standard input:"
            f" `devflow init --key-stdin < FILE`, or set {API_KEY_VARIABLES[1]}."
        )
    if not key or not key.isascii() or not key.isprintable() or set(" '\"\\") & set(key):
        raise ConfigurationError("That is not a key: it is empty, or has spaces or quotes in it.")
    return key


async def _check(run: Run, settings: Settings, key: str) -> str:
    """Ask the provider about the key, which costs nothing.

    Raises:
        UpstreamError: the provider does not know the key, or cannot be reached.
    """
    from devflow_gateway import wiring
    from pydantic import SecretStr

    checked = settings.model_copy(update={"api_keys": (), "api_key": SecretStr(key)})
    await wiring.check_keys(checked)
    run.say("Check    the provider knows this key.")
    return "known"


def _warn_of_others(run: Run, settings: Settings) -> None:
    from devflow_core.settings import API_KEY_VARIABLES

    if settings.api_key or settings.api_keys:
        run.remark(
            f"devflow: {API_KEY_VARIABLES[1]} (or another variable, or your settings file) has a"
            " key as well, which is used in place of this one."
        )


def _join_claude_code(run: Run, settings: Settings, wanted: bool | None) -> dict[str, Any]:
    """Find Claude Code, and offer to integrate; return what to report of it."""
    import shutil

    from devflow_claude_code import plan_install

    from devflow_cli.own_program import find_own_program

    program = shutil.which("claude")
    file = settings.claude_dir / "settings.json"
    found = {"program": program, "settings": str(file), "integrated": False}
    if program is None and not settings.claude_dir.is_dir():
        run.say("Claude   not found; run `devflow init` again once it is installed.")
        return found
    run.say(f"Claude   {program or settings.claude_dir}")
    own = find_own_program()
    if own.cache is not None:
        run.say("         install DevFlow to integrate it: this one may be gone tomorrow.")
        return found
    target = file.resolve()
    change = plan_install(target, data_dir=settings.data_dir, command=shlex.quote(str(own.path)))
    if not change.is_needed:
        run.say("         is integrated already.")
        return {**found, "integrated": True}
    if wanted is None and sys.stdin.isatty() and not run.as_json:
        run.remark(change.diff)
        wanted = typer.confirm(f"Add hooks and status line to {file}?", err=True)
    if not wanted:
        run.say("         `devflow integrate` adds hooks and a status line; it shows the change.")
        return found
    change.apply()
    run.say(f"         hooks and status line are in {file}; `devflow integrate --undo` undoes it.")
    return {**found, "integrated": True}
