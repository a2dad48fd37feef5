"""Completes ids, models, projects and sessions in the shell, from what is on this machine.

A completer asks no network, creates no file, and gives nothing if something is wrong: a message
would stand in the middle of the line that the user types.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from devflow_core.settings import Settings
    from devflow_store import Store

MAX_OFFERED = 100
"""The most values that are offered: more would not fit on a screen."""
LOOKBACK_DAYS = 30
"""The greatest age in days of a ledger entry that is offered."""

MAX_WORDS_CHARS = 60
# Shells evaluate what is offered: a title or the name of a folder, which may come from anyone, must
# not be able to run a command. A value with a blank would become two words.
_UNSAFE = re.compile(r"[^\w./:@+,=#%-]")

Offer = tuple[str, str]
"""A value, and a few words about it."""
Completer = Callable[[typer.Context, str], list[Offer]]


def _completer(find: Callable[[Settings], Iterable[Offer]]) -> Completer:
    @functools.wraps(find)
    def complete(ctx: typer.Context, incomplete: str) -> list[Offer]:
        logging.disable()
        try:
            offers = dict(find(_load_settings(ctx)))
        except Exception:  # noqa: BLE001 - see the module: whatever it is, the user types on
            return []
        fitting = [
            (value, _UNSAFE.sub(" ", words)[:MAX_WORDS_CHARS])
            for value, words in offers.items()
            if value.startswith(incomplete) and not _UNSAFE.search(value)
        ]
        return fitting[:MAX_OFFERED]

    # typer reads the parameters of what it calls, not those of what is wrapped
    del complete.__wrapped__
    complete.__annotations__ = {"ctx": typer.Context, "incomplete": str}
    return complete


def _load_settings(ctx: typer.Context) -> Settings:
    """Load the settings as the command would, except for the working directory's file."""
    from devflow_core.settings import Settings

    given = {name: ctx.params.get(name) for name in ("config", "data_dir")}
    config, data_dir = (Path(str(one)) if one else None for one in given.values())
    return Settings.load(None, config, judge_folder=None, data_dir=data_dir)


@_completer
def complete_session(settings: Settings) -> Iterator[Offer]:
    """Offer ids of sessions, the latest first, with their titles where they are known."""
    from devflow_claude_code import peek_sessions

    yield "latest", "the project's latest session"
    for digest in peek_sessions(settings.data_dir, settings.claude_dir):
        last = (digest.last_at or "")[:10]
        yield digest.session_id, f"{last} {digest.title or digest.project or ''}".strip()


@_completer
def complete_project(settings: Settings) -> Iterator[Offer]:
    """Offer the folders of projects that have sessions, and the projects of the ledger."""
    from devflow_claude_code import peek_sessions

    for digest in peek_sessions(settings.data_dir, settings.claude_dir):
        if digest.project:
            yield digest.project, "has sessions"
    if (store := _open_local(settings)) is not None:
        for (project,) in store.aggregate(("project",), with_times=False):
            if project:
                yield project, "in the ledger"


@_completer
def complete_model(settings: Settings) -> Iterator[Offer]:
    """Offer the choices of `auto`, the user's aliases, and the ids of the catalogue."""
    from devflow_gateway import wiring

    yield "auto", "the best for the task"
    yield "auto:cheap", "the cheapest that is able"
    yield "auto:fast", "the fastest that is able"
    yield "auto:best", "the best, whatever it costs"
    yield "auto:verified", "a cheap one whose answer is checked, then better ones"
    yield from settings.aliases.items()
    for model in wiring.open_catalogue(settings).current.models:
        yield model.id, model.name


@_completer
def complete_entry(settings: Settings) -> Iterator[Offer]:
    """Offer the ids of recent requests, the latest first."""
    from datetime import UTC, datetime, timedelta

    if (store := _open_local(settings)) is None:
        return
    since = datetime.now(UTC) - timedelta(days=LOOKBACK_DAYS)
    for entry in reversed(list(store.entries(since=since))):
        yield entry.entry_id, f"{entry.started_at:%m-%d %H:%M} {entry.model}"


@_completer
def complete_budget(settings: Settings) -> Iterator[Offer]:
    """Offer the ids of budgets."""
    from devflow_core.usage import usd_text

    if (store := _open_local(settings)) is not None:
        for state in store.budget_states():
            budget = state.budget
            limit = usd_text(budget.limit_usd)
            yield budget.id, f"{limit} USD a {budget.window}, {budget.scope}"


def _open_local(settings: Settings) -> Store | None:
    """Return the ledger for reading; None if it was never begun, or is on another machine."""
    from devflow_gateway import wiring

    is_local = settings.ledger_url is None or settings.ledger_url.startswith("sqlite")
    return wiring.make_store(settings) if is_local and wiring.has_ledger(settings) else None
