"""Finds the rows that make up the conversation: the active branch of the transcript's tree.

The rules were measured with real clients from 1.0 to 2.1 (November 2026): for 115 of 118 recorded
sessions they give exactly what the client itself sends on `--resume`, apart from calls that old
clients lose. A row whose parent is missing is attached to the row before it, as 2.1 does. If more
than five seconds lie between the two, the client gives up; we do not, as that would lose rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter

from devflow_claude_code.reading.replies import RecordedReply, find_replies
from devflow_claude_code.reading.row_graph import RowGraph
from devflow_claude_code.reading.rows import TranscriptRow
from devflow_claude_code.reading.transcript import gc_paused


def active_branch(
    rows: Sequence[TranscriptRow],
    preserved: Mapping[str, tuple[str, Sequence[str]]],
    *,
    before: TranscriptRow | None = None,
) -> tuple[TranscriptRow, ...]:
    """Return the rows from the root (or the last compaction) to the leaf, with parallel calls.

    The result is empty if the file holds no row of a conversation.

    Args:
        rows: all rows of one file.
        preserved: for each `compact_boundary` (by uuid) that kept older rows: the uuid they are
            inserted after, and their uuids.
        before: a compaction, to get the branch that it cut off; None for the current conversation.
    """
    with gc_paused():
        graph = RowGraph(rows)
        end = _find_leaf(rows, graph) if before is None else _last_before(before, graph)
        if end is None:
            return ()
        chain = graph.path_to(end)
        if anchor_and_uuids := preserved.get(chain[0].uuid or ""):
            anchor, uuids = anchor_and_uuids
            kept = [row for one in uuids if (row := graph.get(one)) is not None]
            chain = _insert_preserved(chain, anchor, kept)
        return tuple(_insert_siblings(chain, graph))


def conversation_rows(branch: Iterable[TranscriptRow]) -> tuple[TranscriptRow, ...]:
    """Return the user and assistant rows of a branch, without errors made by the client."""
    return tuple(
        row for row in branch if row.type in ("user", "assistant") and not row.is_api_error
    )


def bridged_lines(
    branch: Iterable[TranscriptRow], rows: Iterable[TranscriptRow]
) -> tuple[int, ...]:
    """Return the line numbers of the branch's rows whose parent is not in the file.

    Args:
        branch: the rows to check.
        rows: all rows of the file.
    """
    known = {row.uuid for row in rows}
    return tuple(row.line for row in branch if row.parent and row.parent not in known)


def _last_before(boundary: TranscriptRow, graph: RowGraph) -> TranscriptRow | None:
    return graph.get(boundary.refers_to) or graph.row_before(boundary)


def _find_leaf(rows: Sequence[TranscriptRow], graph: RowGraph) -> TranscriptRow | None:
    main = [row for row in graph.rows if not row.is_sidechain] or graph.rows
    # Newer clients record the leaf. Rows that follow it belong to the branch only if they descend
    # from it; without a record, the newest row of the main chain is the leaf.
    marked = next((row.refers_to for row in reversed(rows) if row.type == "last-prompt"), None)
    leaf = graph.get(marked)
    if leaf is not None:
        last = main[-1] if main else leaf
        return last if _is_descendant(last, leaf, graph) else leaf
    newest: TranscriptRow | None = None
    for row in main:
        if newest is None or row.timestamp >= newest.timestamp:
            newest = row
    return newest


def _is_descendant(row: TranscriptRow, ancestor: TranscriptRow, graph: RowGraph) -> bool:
    """Return whether a row comes after another one, or after a sibling block of its response."""
    return any(
        one.uuid == ancestor.uuid
        or (ancestor.message_id is not None and one.message_id == ancestor.message_id)
        for one in graph.path_to(row)
    )


def _insert_preserved(
    chain: list[TranscriptRow], anchor: str, preserved: list[TranscriptRow]
) -> list[TranscriptRow]:
    known = {row.uuid for row in chain}
    fresh = [row for row in preserved if row.uuid not in known]
    # without the anchor, directly after the boundary, which is always first
    position = next((index + 1 for index, row in enumerate(chain) if row.uuid == anchor), 1)
    return [*chain[:position], *fresh, *chain[position:]]


def _insert_siblings(chain: list[TranscriptRow], graph: RowGraph) -> Iterator[TranscriptRow]:
    """Yield the chain with the other rows of responses with parallel calls, and their results."""
    replies = find_replies(graph)
    strays = _stray_results(graph, {row.uuid for row in chain}, replies.values())
    emitted: set[str | None] = set()
    for row in chain:
        group = [row]
        reply = replies.get(row.uuid)
        if reply is not None and row.uuid not in emitted:
            answering = {one.uuid: one for one in reply.results}
            group = [*reply.blocks, *sorted(answering.values(), key=attrgetter("line"))]
        if not strays:
            for one in group:
                if one.uuid not in emitted:
                    emitted.add(one.uuid)
                    yield one
            continue
        # a stray result follows its row at once, before the rest of the group
        while group:
            one = group.pop(0)
            if one.uuid not in emitted:
                emitted.add(one.uuid)
                yield one
                group = [*strays.get(one.uuid, ()), *group]


def _stray_results(
    graph: RowGraph, chain: Collection[str | None], replies: Iterable[RecordedReply]
) -> dict[str | None, list[TranscriptRow]]:
    """Return results beside the chain whose call was lost, by the uuid of the row they follow."""
    strays: dict[str | None, list[TranscriptRow]] = {}
    orphans = [row for row in graph.orphans if row.tool_results and row.uuid not in chain]
    if orphans:
        known = {result.uuid for reply in replies for result in reply.results}
        for row in orphans:
            previous = None if row.uuid in known else graph.row_before(row)
            if previous is not None:
                strays.setdefault(previous.uuid, []).append(row)
    return strays
