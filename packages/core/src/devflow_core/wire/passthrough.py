"""Passes frames of the client's own dialect on unchanged."""

from __future__ import annotations

from collections.abc import Callable

from devflow_core.events import Event, Opaque
from devflow_core.messages import JsonObject, WireName
from devflow_core.wire.body import dump


class Passthrough:
    """Decides by a stream's first event whether to pass it through, and passes its frames on.

    Args:
        wire: the client's dialect.
        has_usage: returns whether an event's frame holds the usage, to which our fields are added.
    """

    def __init__(self, wire: WireName, has_usage: Callable[[Event], bool]) -> None:
        self._wire = wire
        self._has_usage = has_usage
        self._is_active: bool | None = None
        self.annotations: JsonObject | None = None
        """Our own fields, which are added to the frame with the usage as `devflow`."""

    def forward(self, event: Event) -> bytes | None:
        """Return the frame to send, empty if the event has none; None if it must be translated."""
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
    """Return whether an event is an `Opaque` that reports the usage."""
    return isinstance(event, Opaque) and event.kind == "usage"


def _annotate(frame: bytes, annotations: JsonObject) -> bytes:
    """Return the frame with one more field; all existing bytes stay unchanged."""
    head, brace, tail = frame.rpartition(b"}")
    return head + b',"devflow":' + dump(annotations) + brace + tail
