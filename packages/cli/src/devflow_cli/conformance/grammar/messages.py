"""Defines the grammar of a stream of Anthropic's Messages, and finds where a stream leaves it.

    stream := message_start block* message_delta+ message_stop
    block  := content_block_start content_block_delta* content_block_stop

Blocks are numbered from 0 and do not overlap; pings may come anywhere before the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from devflow_cli.conformance.recording import JsonObject

# blocks of other kinds may have any delta
_DELTAS = {
    "text": {"text_delta", "citations_delta"},
    "thinking": {"thinking_delta", "signature_delta"},
    "tool_use": {"input_json_delta"},
    "server_tool_use": {"input_json_delta"},
}
_KNOWN = ("content_block_start", "content_block_delta", "content_block_stop", "message_delta")


def find_fault(events: Sequence[tuple[str, JsonObject]]) -> str | None:
    """Return the first fault of a stream, given as names and data of its events; None if none."""
    for name, data in events:
        if name and data.get("type") != name:
            return f"an event is named {name} and is of type {data.get('type')}"
    kinds = [(str(data.get("type")), data) for _, data in events]
    told = [(kind, data) for kind, data in kinds if kind != "ping"]
    if not told or told[0][0] != "message_start":
        return f"the first event is {told[0][0] if told else 'missing'}, not message_start"
    if kinds[-1][0] != "message_stop":
        return f"the last event is {kinds[-1][0]}, not message_stop"
    place = _Place()
    for kind, data in told[1:-1]:
        fault = place.go_on(kind, data)
        if fault is not None:
            return fault
    if place.open_kind is not None:
        return f"block {place.index} is not stopped"
    return None if place.has_delta else "there is no message_delta"


@dataclass(slots=True)
class _Place:
    """The place in the grammar that a stream has reached."""

    index: int = -1
    """The number of the last block that began."""
    open_kind: str | None = None
    """The kind of the open block; None between blocks."""
    has_delta: bool = False
    """Whether `message_delta` has come, after which no block may begin."""

    def go_on(self, kind: str, data: JsonObject) -> str | None:
        """Take one event; return what is wrong with it here, None if nothing is."""
        if kind not in _KNOWN:
            # kinds that are new to us may come between others
            return f"{kind} comes twice" if kind in ("message_start", "message_stop") else None
        if kind == "message_delta":
            self.has_delta = True
            return None if self.open_kind is None else "message_delta comes inside of a block"
        index = data.get("index")
        if kind == "content_block_start":
            return self._begin(index, str(data["content_block"]["type"]))
        if self.open_kind is None or index != self.index:
            return f"{kind} for block {index}, which is not open"
        if kind == "content_block_stop":
            self.open_kind = None
            return None
        given = str(data["delta"]["type"])
        allowed = _DELTAS.get(self.open_kind)
        return (
            None
            if allowed is None or given in allowed
            else f"{given} in a block of {self.open_kind}"
        )

    def _begin(self, index: object, kind: str) -> str | None:
        if self.open_kind is not None:
            return f"block {index} begins while block {self.index} is open"
        if index != self.index + 1 or self.has_delta:
            return f"block {index} begins behind block {self.index}"
        self.index, self.open_kind = self.index + 1, kind
        return None
