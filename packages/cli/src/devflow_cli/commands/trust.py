"""`devflow trust`: decides which folders' settings count like the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from devflow_cli.app import app
from devflow_cli.run import DONE, FAILED, Run, ask_about_folder, command


@command(app)
def trust(
    run: Run,
    folder: Annotated[Path, typer.Argument(help="The folder with the devflow.toml.")] = Path(),
    show_list: Annotated[
        bool, typer.Option("--list", help="Only list the trusted folders.")
    ] = False,
    revoke: Annotated[bool, typer.Option("--revoke", help="Forget the decision about it.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
) -> int:
    """Show what a folder's devflow.toml sets, and ask whether to trust it until the file changes.

    The exit status is 1 if the answer is no, or if --revoke finds no decision.
    """
    from devflow_core.settings import find_folder_question, open_trusted_folders

    if not show_list and not revoke and not folder.is_dir():
        # a folder that is gone may still be forgotten
        raise typer.BadParameter(f"{folder} is not a folder", param_hint="folder")
    if show_list:
        _list_trusted(run)
        return DONE
    if revoke:
        is_known = open_trusted_folders().forget(folder.resolve())
        _report(run, folder, "Forgotten." if is_known else "No decision is stored.", trusted=False)
        return DONE if is_known else FAILED
    question = find_folder_question(folder)
    if question is None:
        _report(run, folder, "There is nothing to trust: it sets only preferences, or nothing.")
        return DONE
    # shown although nothing is asked: the user should see what is trusted
    if yes:
        for line in question.describe():
            run.remark(f"  {line}")
        question.remember(is_trusted=True)
    is_trusted = yes or ask_about_folder(run, question)
    text = "Trusted until the file changes." if is_trusted else "Not trusted."
    _report(run, folder, text, trusted=is_trusted)
    return DONE if is_trusted else FAILED


def _list_trusted(run: Run) -> None:
    from devflow_core.settings import open_trusted_folders

    paths = open_trusted_folders().list_trusted()
    if run.as_json:
        run.emit({"trusted": paths})
    for path in paths or ["No folder is trusted."]:
        run.say(str(path))


def _report(run: Run, folder: Path, text: str, *, trusted: bool = False) -> None:
    if run.as_json:
        run.emit({"folder": folder.resolve(), "trusted": trusted, "detail": text})
    run.say(text)
