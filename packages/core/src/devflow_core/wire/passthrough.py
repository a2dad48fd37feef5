"""Frames of the reader's own dialect, passed on as they are."""

from __future__ import annotations

from collections.abc import Callable

from devflow_core.events import Event, Opaque
from devflow_core.messages import JsonObject, WireName
from devflow_core.wire.body import dump


class Passthrough:
    """Decides at the first event whether a stream passes through, and does it.

    Args:
        wire: the reader's wire.
        has_usage: whether the frame of an event holds the usage, where our own fields go.
    """

    def __init__(self, wire: WireName, has_usage: Callable[[Event], bool]) -> None:
        self._wire = wire
        self._has_usage = has_usage
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


def is_usage(event: Event) -> bool:
    """Whether an event tells the usage and nothing that the hub has a word for."""
    return isinstance(event, Opaque) and event.kind == "usage"


def _annotate(frame: bytes, annotations: JsonObject) -> bytes:
    """The frame with one more field; every byte that was there stays as it was."""
    head, brace, tail = frame.rpartition(b"}")
    return head + b',"devflow":' + dump(annotations) + brace + tail
