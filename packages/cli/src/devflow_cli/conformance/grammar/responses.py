"""Defines the grammar of a stream of OpenAI's Responses, and finds where a stream leaves it.

    stream := created in_progress? item* (completed | incomplete | failed)
    item   := output_item.added (events of this item)* output_item.done

Every item that the final response holds was added and done, and its text is that of its deltas.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from devflow_cli.conformance.recording import JsonObject, as_objects
from devflow_cli.conformance.speech.responses import FINAL_EVENTS


def find_fault(events: Sequence[JsonObject]) -> str | None:
    """Return the first fault of a stream, given as the data of its events; None if none."""
    # a `keepalive` may come anywhere, and belongs to no item
    kinds = [str(one.get("type")) for one in events if one.get("type") != "keepalive"]
    if not kinds or kinds[0] != "response.created":
        return f"the first event is {kinds[0] if kinds else 'missing'}, not response.created"
    if kinds[-1] not in FINAL_EVENTS:
        return f"the last event is {kinds[-1]}, not response.completed"
    numbers = [one["sequence_number"] for one in events if "sequence_number" in one]
    if numbers != sorted(set(numbers)):
        return "the sequence numbers do not rise"
    return _find_item_fault(events)


def _find_item_fault(events: Sequence[JsonObject]) -> str | None:
    opened: dict[object, str] = {}
    finished: dict[object, JsonObject] = {}
    pieces: dict[object, str] = {}
    for event in events:
        kind, index = str(event.get("type")), event.get("output_index")
        # an event without an index concerns the whole response
        if index is None:
            continue
        if kind == "response.output_item.added":
            opened[index] = str(event["item"]["type"])
            continue
        if index not in opened or index in finished:
            return f"{kind} for item {index}, which is not open"
        if kind == "response.output_item.done":
            finished[index] = cast(JsonObject, event["item"])
        elif kind in ("response.output_text.delta", "response.function_call_arguments.delta"):
            pieces[index] = pieces.get(index, "") + str(event["delta"])
    return _find_final_fault(events[-1], opened, finished, pieces)


def _find_final_fault(
    final: JsonObject,
    opened: dict[object, str],
    finished: dict[object, JsonObject],
    pieces: dict[object, str],
) -> str | None:
    missing = [index for index in opened if index not in finished]
    if missing:
        return f"item {missing[0]} is added and never done"
    held = cast("list[JsonObject]", final["response"]["output"])
    if [one["type"] for one in held] != list(opened.values()):
        return "the final response holds other items than the stream"
    for index, item in finished.items():
        texts = [str(part.get("text") or "") for part in as_objects(item.get("content"))]
        whole = item.get("arguments") or "".join(texts)
        if index in pieces and pieces[index] != whole:
            return f"the deltas of item {index} do not add up to it"
    return None
