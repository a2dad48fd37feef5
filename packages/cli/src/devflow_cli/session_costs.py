"""Reads what Claude Code sessions cost, for `costs` and `sessions list`: index, prices, ledger."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from devflow_claude_code import CostItem, CountedSession, SessionDigest, SessionIndex
    from devflow_core.settings import Settings

    from devflow_cli.run import Run

MAX_LATENESS = timedelta(days=1)
"""The longest time that may lie between a request and the reply to it."""


def read_recent(
    run: Run, settings: Settings, limit: int | None, project: Path | None = None
) -> tuple[list[CountedSession[SessionDigest]], int]:
    """Return the latest sessions, each with its own replies, and the number of all sessions.

    Args:
        run: shows the progress of reading.
        settings: give the folders of the cache and of Claude Code.
        limit: the most sessions to return; None is all.
        project: a folder, for only its sessions.
    """
    from devflow_claude_code import count_once, with_index

    def use(index: SessionIndex) -> tuple[list[CountedSession[SessionDigest]], int]:
        _refresh(run, index, None)
        found = index.recent(limit, project)
        counted = count_once([*found, *index.related(found)])
        return counted[: len(found)], index.count(project)

    return with_index(settings.data_dir, settings.claude_dir, use)


def read_costs(
    run: Run,
    settings: Settings,
    period: tuple[datetime | None, datetime | None],
    project: str | None,
) -> list[CostItem]:
    """Return every reply of the sessions in a period with its cost, once, in order of time.

    Args:
        run: shows the progress of reading.
        settings: give the folders, the prices and the ledger.
        period: its beginning, and its end, which is exclusive; None is open.
        project: a folder or the name of one, for only its replies.

    Raises:
        StoreError: the ledger cannot be read.
    """
    from datetime import UTC

    from devflow_claude_code import price_sessions, with_index
    from devflow_gateway import wiring

    since, until = period
    early = None if since is None else (since - MAX_LATENESS).astimezone(UTC)
    last_at = "" if early is None else f"{early:%Y-%m-%dT%H:%M:%S}"

    def use(index: SessionIndex) -> Sequence[SessionDigest]:
        _refresh(run, index, None)
        found = index.since(last_at)
        # without a beginning, all are there already
        return [*found, *index.related(found)] if last_at else found

    digests = with_index(settings.data_dir, settings.claude_dir, use)
    # reading must not create an empty ledger
    entries = (
        wiring.make_store(settings).entries(since=early) if wiring.has_ledger(settings) else ()
    )
    items = price_sessions(digests, wiring.open_catalogue(settings).price_of, entries)
    return [
        item
        for item in items
        if (since is None or item.at >= since)
        and (until is None or item.at < until)
        and (project is None or _is_of(item.project, project))
    ]


def _is_of(label: str | None, project: str) -> bool:
    """Return whether a project's label is that of a folder, or ends in a name."""
    from devflow_core.repository import project_label

    if label is None:
        return False
    folder = Path(project).expanduser()
    if "/" not in project and project not in (".", "..", "~"):
        return Path(label).name == project
    return label == project_label(folder.resolve())


def _refresh(run: Run, index: SessionIndex, project: Path | None) -> None:
    with run.progress.status("Reading sessions …") as status:
        index.refresh(
            project,
            progress=lambda done, count: status.update(f"Reading sessions: {done} of {count} …"),
        )
