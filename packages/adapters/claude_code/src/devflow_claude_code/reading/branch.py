"""Which rows of a transcript the conversation consists of: the tree's active branch.

The rules were measured with real clients from 1.0 to 2.1 (November 2026): for 115 of 118 recorded
sessions they give exactly what the client itself sends on `--resume`, up to the calls that old
clients lose.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from devflow_claude_code.reading.rows import TranscriptRow

_GRAPH_TYPES = frozenset({"user", "assistant", "system", "attachment", "progress"})


def active_branch(
    rows: Sequence[TranscriptRow],
    preserved: Mapping[str, tuple[str, Sequence[str]]],
    *,
    leaf: str | None = None,
) -> tuple[TranscriptRow, ...]:
    """The rows from the root (or the last compaction) to the leaf, parallel calls included.

    Args:
        rows: all rows of one file.
        preserved: for a `compact_boundary` (by its uuid) that kept older rows: the uuid after
            which they stand, and theirs.
        leaf: uuid of the row to end with; None is where the conversation stands now.
    """
    graph: dict[str | None, TranscriptRow] = {
        row.uuid: row for row in rows if row.uuid and row.type in _GRAPH_TYPES
    }
    end = _find_leaf(rows, graph) if leaf is None else graph.get(leaf)
    if end is None:
        return ()
    chain = _path_to_root(end, graph)
    if anchor_and_uuids := preserved.get(chain[0].uuid or ""):
        anchor, uuids = anchor_and_uuids
        chain = _insert_preserved(chain, anchor, [graph[one] for one in uuids if one in graph])
    return tuple(_insert_siblings(chain, graph.values()))


def conversation_rows(branch: Iterable[TranscriptRow]) -> tuple[TranscriptRow, ...]:
    """Of a branch the user and assistant rows, errors made by the client left out."""
    return tuple(
        row for row in branch if row.type in ("user", "assistant") and not row.is_api_error
    )


def _find_leaf(
    rows: Sequence[TranscriptRow], graph: Mapping[str | None, TranscriptRow]
) -> TranscriptRow | None:
    main = [row for row in graph.values() if not row.is_sidechain] or list(graph.values())
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


def _is_descendant(
    row: TranscriptRow, ancestor: TranscriptRow, graph: Mapping[str | None, TranscriptRow]
) -> bool:
    """Whether a row comes after another, or after a sibling block of the same response."""
    return any(
        one.uuid == ancestor.uuid
        or (ancestor.message_id is not None and one.message_id == ancestor.message_id)
        for one in _path_to_root(row, graph)
    )


def _path_to_root(
    leaf: TranscriptRow, graph: Mapping[str | None, TranscriptRow]
) -> list[TranscriptRow]:
    chain: list[TranscriptRow] = []
    seen: set[str | None] = set()
    row: TranscriptRow | None = leaf
    while row is not None and row.uuid not in seen:
        seen.add(row.uuid)
        chain.append(row)
        row = graph.get(row.parent) if row.parent else None
    chain.reverse()
    return chain


def _insert_preserved(
    chain: list[TranscriptRow], anchor: str, preserved: list[TranscriptRow]
) -> list[TranscriptRow]:
    known = {row.uuid for row in chain}
    fresh = [row for row in preserved if row.uuid not in known]
    position = next((index + 1 for index, row in enumerate(chain) if row.uuid == anchor), 1)
    return [*chain[:position], *fresh, *chain[position:]]


def _insert_siblings(
    chain: list[TranscriptRow], rows: Iterable[TranscriptRow]
) -> Iterable[TranscriptRow]:
    """Parallel calls make a response several rows: put all of them, and their results, in place."""
    blocks: dict[str, list[TranscriptRow]] = {}
    results: dict[str, list[TranscriptRow]] = {}
    for row in rows:
        if row.message_id:
            blocks.setdefault(row.message_id, []).append(row)
        for call_id, _ in row.tool_results:
            results.setdefault(call_id, []).append(row)
    emitted: set[str | None] = set()
    for row in chain:
        group = [row]
        if row.message_id and row.uuid not in emitted:
            group = list(blocks[row.message_id])
            calls = [call_id for block in group for call_id, _ in block.tool_calls]
            answering = {one.uuid: one for call in calls for one in results.get(call, ())}
            group += sorted(answering.values(), key=lambda one: one.line)
        for one in group:
            if one.uuid not in emitted:
                emitted.add(one.uuid)
                yield one
