"""Groups rows into replies: the blocks of each, and the results that answer its calls."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from devflow_claude_code.reading.row_graph import RowGraph
from devflow_claude_code.reading.rows import TranscriptRow


@dataclass(slots=True)
class RecordedReply:
    """The rows recorded for one request."""

    blocks: list[TranscriptRow] = field(default_factory=list[TranscriptRow])
    """The assistant rows, usually one per content block."""
    results: list[TranscriptRow] = field(default_factory=list[TranscriptRow])
    """Rows that answer the reply's calls; a row that answers two is listed twice."""


class _Before(NamedTuple):
    """The last block before a row, and whether results lie in between."""

    block: TranscriptRow | None = None
    has_results: bool = False


def find_replies(graph: RowGraph) -> dict[str | None, RecordedReply]:
    """Return the replies of a file, keyed by the uuid of each of their blocks.

    The message id alone is not enough: some gateways give every reply the same one. Blocks of one
    reply follow each other. Results lie between them only if the client runs tools while the
    reply still streams, and then the blocks' request id is the same.
    """
    nothing = _Before()
    replies: dict[str | None, RecordedReply] = {}
    before: dict[str | None, _Before] = {}
    calls: dict[str, RecordedReply] = {}
    for row in graph.rows:
        parent = graph.parent_of(row)
        last = before.get(parent.uuid, nothing) if parent is not None else nothing
        if row.type == "assistant":
            is_same = last.block is not None and _is_same_reply(row, last.block, last.has_results)
            reply = (
                replies[last.block.uuid] if is_same and last.block is not None else RecordedReply()
            )
            reply.blocks.append(row)
            replies[row.uuid] = reply
            for call_id, _ in row.tool_calls:
                calls[call_id] = reply
            before[row.uuid] = _Before(row)
        elif row.tool_results:
            for call_id, _ in row.tool_results:
                if (reply := calls.get(call_id)) is not None:
                    reply.results.append(row)
            before[row.uuid] = _Before(last.block, True)
        else:
            # a prompt ends the reply; attachments and progress rows may stand between its blocks
            is_prompt = row.type == "user" and row.has_text and not row.is_meta
            before[row.uuid] = nothing if is_prompt else last
    return replies


def _is_same_reply(row: TranscriptRow, block: TranscriptRow, has_results: bool) -> bool:
    if row.message_id is None or row.message_id != block.message_id:
        return False
    return not has_results or (row.request_id is not None and row.request_id == block.request_id)
