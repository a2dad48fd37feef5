"""Frames of the reader's own dialect, passed on as they are."""

from __future__ import annotations

from devflow_core.events import Event, Finished, Opaque
from devflow_core.messages import JsonObject, WireName
from devflow_core.wire.body import dump


class Passthrough:
    """Decides at the first event whether a stream passes through, and does it.

    Args:
        wire: the reader's wire.
    """

    def __init__(self, wire: WireName) -> None:
        self._wire: WireName = wire
        self._is_active: bool | None = None
        self.annotations: JsonObject | None = None

    def forward(self, event: Event) -> bytes | None:
        """The frame to send, empty for an event without one; None when it must be translated."""
        if self._is_active is None:
            self._is_active = event.frame is not None and event.frame.wire == self._wire
        if not self._is_active:
            return None
        if event.frame is None:
            return b""
        if self.annotations and self._has_usage(event):
            return _annotate(event.frame.data, self.annotations)
        return event.frame.data

    def _has_usage(self, event: Event) -> bool:
        if isinstance(event, Opaque):
            return event.kind == "usage"
        return isinstance(event, Finished) and self._wire == "openai_responses"


def _annotate(frame: bytes, annotations: JsonObject) -> bytes:
    """The frame with one more field; every byte that was there stays as it was."""
    head, brace, tail = frame.rpartition(b"}")
    return head + b',"devflow":' + dump(annotations) + brace + tail
