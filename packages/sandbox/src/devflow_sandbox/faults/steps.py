"""Cuts and edits the steps of an answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import orjson

from devflow_sandbox.faults.schema import BodyPosition
from devflow_sandbox.message import DONE, JsonObject, Step


def is_event(step: Step) -> bool:
    """Return whether a step is an event with data, not a comment, a pause or `[DONE]`."""
    return isinstance(step, bytes) and step.startswith((b"data:", b"event:")) and step != DONE


def byte_count(steps: Sequence[Step]) -> int:
    """Return the total number of bytes; pauses and drops have none."""
    return sum(len(step) for step in steps if isinstance(step, bytes))


def split_at(steps: list[Step], position: BodyPosition) -> tuple[list[Step], list[Step]]:
    """Split the steps into those before and those after a position.

    Beyond the end, everything is before it. A step is only divided by a position in bytes, or in a
    body that is not streamed.
    """
    events = sum(map(is_event, steps))
    if position.byte is not None:
        return _split_bytes(steps, position.byte)
    # a body that is not streamed has one place only: its bytes
    if not events:
        share = position.share if position.share is not None else float((position.event or 0) > 0)
        return _split_bytes(steps, round(byte_count(steps) * share))
    wanted = (
        position.event if position.event is not None else round(events * (position.share or 0.0))
    )
    return _split_events(steps, wanted)


def _split_events(steps: list[Step], wanted: int) -> tuple[list[Step], list[Step]]:
    """Split after a number of events; steps that are not events stay with the event before."""
    count = 0
    for index, step in enumerate(steps):
        if is_event(step):
            count += 1
            if count > wanted:
                return steps[:index], steps[index:]
    return steps, []


def _split_bytes(steps: list[Step], wanted: int) -> tuple[list[Step], list[Step]]:
    before: list[Step] = []
    for index, step in enumerate(steps):
        if isinstance(step, bytes):
            if wanted < len(step):
                head = [step[:wanted]] if wanted else []
                return [*before, *head], [step[wanted:], *steps[index + 1 :]]
            wanted -= len(step)
        before.append(step)
    return before, []


def share_of(before: Sequence[Step], steps: Sequence[Step]) -> float:
    """Return the share (0..1) of `steps` that `before` has: by events, or by bytes without any."""
    events = sum(map(is_event, steps))
    if events:
        return min(1.0, sum(map(is_event, before)) / events)
    return min(1.0, byte_count(before) / max(1, byte_count(steps)))


def edit_events(steps: list[Step], change: Callable[[JsonObject], JsonObject | None]) -> list[Step]:
    """Return the steps with `change` applied to the JSON of every event, or of the whole body.

    An event for which it returns None is dropped.
    """
    out: list[Step] = []
    for step in steps:
        if isinstance(step, bytes) and is_event(step):
            head, _, data = step.rpartition(b"data: ")
            changed = change(cast(JsonObject, orjson.loads(data)))
            if changed is not None:
                out.append(b"%bdata: %b\n\n" % (head, orjson.dumps(changed)))
        elif isinstance(step, bytes) and step.lstrip().startswith(b"{"):
            changed = change(cast(JsonObject, orjson.loads(step)))
            out.append(orjson.dumps(changed))
        else:
            out.append(step)
    return out
