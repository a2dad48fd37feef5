"""`devflow integrate`: puts hooks, status line and MCP server into Claude Code's files."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from devflow_cli.app import app
from devflow_cli.run import DONE, FAILED, Run, command

if TYPE_CHECKING:
    from devflow_claude_code import SettingsChange
    from devflow_core.settings import Settings

    from devflow_cli.own_program import OwnProgram


@command(app)
def integrate(
    run: Run,
    settings_file: Annotated[
        Path | None, typer.Option("--settings", help="[default: Claude Code's settings.json]")
    ] = None,
    with_mcp: Annotated[
        bool, typer.Option("--mcp", help="Put the MCP server into ./.mcp.json instead.")
    ] = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="Restore the file to what it was, byte for byte.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
) -> int:
    """Add hooks and status line to Claude Code's settings, after showing the change.

    They call this DevFlow by its path, so that they work whatever is on Claude Code's PATH.
    """
    from devflow_cli.own_program import find_own_program

    # an installation for every project must not depend on the folder it is started from
    settings = run.settings(reads_folder=False)
    default = Path(".mcp.json") if with_mcp else settings.claude_dir / "settings.json"
    file = _resolve_target(settings_file or default, settings.claude_dir)
    program = find_own_program()
    change = _plan(file, settings, program, with_mcp=with_mcp, undo=undo)
    document = {"path": file, "diff": change.diff}
    if not change.is_needed:
        _report_result(run, "Nothing to change.", {**document, "written": False})
        return DONE
    if with_mcp and not undo and not program.is_on_path:
        run.remark(
            f"{file} will name {program.path}, which only this machine has: keep the file out of a"
            " repository that you share. With `devflow` on the PATH, as after `uv tool install` or"
            " `pipx install`, it names that."
        )
    if not yes:
        run.remark(change.diff)
        if not typer.confirm(f"Write this to {file}?", err=True):
            _report_result(run, "Nothing was written.", {**document, "written": False})
            return FAILED
    change.apply()
    undoing = f"{program.call_words} integrate --undo --settings {shlex.quote(str(file))}"
    done = "Done." if undo else f"Done. `{undoing}` undoes it."
    _report_result(run, done, {**document, "written": True})
    return DONE


def _plan(
    file: Path, settings: Settings, program: OwnProgram, *, with_mcp: bool, undo: bool
) -> SettingsChange:
    """Plan the change of the file.

    Raises:
        ConfigurationError: this DevFlow runs from a cache, so it cannot be called later; or see
            `plan_install` and `plan_undo`.
    """
    from devflow_claude_code import plan_install, plan_undo
    from devflow_core.errors import ConfigurationError

    if undo:
        return plan_undo(file, data_dir=settings.data_dir)
    if program.cache is not None:
        raise ConfigurationError(
            f"This DevFlow is a part of the cache {program.cache} (`uvx`, `uv run --isolated`,"
            " `pipx run`) and may be gone tomorrow. Install it (`uv tool install`, `pipx install`"
            " or a virtual environment), and run `devflow integrate` from there."
        )
    path = shlex.quote(str(program.path))
    if with_mcp:
        # a project's file is shared with other people, who have DevFlow somewhere else
        called = program.call_words
        return plan_install(file, data_dir=settings.data_dir, command=called, features=("mcp",))
    return plan_install(file, data_dir=settings.data_dir, command=path)


def _resolve_target(file: Path, claude_dir: Path) -> Path:
    """Return the file to write; links in Claude Code's own folder are followed.

    Raises:
        ConfigurationError: a part of the path below the working directory is a link, which may have
            come with a repository.
    """
    from devflow_core.private_files import refuse_links_below

    # the user may keep these files elsewhere, as in a repository of dotfiles
    if file.absolute().is_relative_to(claude_dir.absolute()):
        return file.resolve()
    return refuse_links_below(file, Path.cwd())


def _report_result(run: Run, text: str, document: dict[str, object]) -> None:
    if run.as_json:
        run.emit(document)
    else:
        run.say(text)
