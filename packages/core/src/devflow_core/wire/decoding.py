"""Provides the base of the decoders, which handles everything that no dialect defines itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from devflow_core.errors import Incomplete, ProtocolError
from devflow_core.events import Event, Frame, Opaque, Started
from devflow_core.messages import WireName
from devflow_core.safe_text import excerpt
from devflow_core.wire.body import load_frame
from devflow_core.wire.sse import SseFrame

NO_EVENTS: tuple[Event, ...] = ()


class FrameDecoder(ABC):
    """Decodes one streamed reply; subclasses decode the JSON events of their dialect.

    Comments are passed on once the reply has begun. Bytes before its first event wait, and are sent
    with that event's frame. A repaired frame is passed on repaired: its text is always UTF-8.

    Args:
        model: the model that was asked, for errors.
    """

    wire: ClassVar[WireName]

    def __init__(self, model: str | None = None) -> None:
        self.finished = False
        self._model = model
        self._is_started = False
        self._generation_id: str | None = None
        self._prelude = b""

    def feed(self, frame: SseFrame) -> Sequence[Event]:
        """Return the events of one frame; none for a comment before the reply, or after its end.

        Raises:
            DevFlowError: the provider reports a failure, or the frame is not an event of the
                dialect.
        """
        if self.finished:
            return NO_EVENTS
        data = frame.data
        if not frame.is_checked:
            frame = _with_valid_text(frame)
        if data is None:
            return self._decode_comment(frame)
        if data == b"[DONE]":
            return self._decode_done(frame)
        body, frame = load_frame(frame)
        return NO_EVENTS if body is None else self._decode_body(body, data, frame)

    def close(self) -> Sequence[Event]:
        """Return the events that are still due once the bytes have ended, `Finished` last, or none.

        Raises:
            DevFlowError: the reply was cut off, or ended in an error.
        """
        return NO_EVENTS if self.finished else self._decode_end()

    @abstractmethod
    def _decode_events(self, body: dict[str, Any], data: bytes) -> list[Event]:
        """Return the events of one JSON object, without frames.

        Args:
            body: the decoded object.
            data: the bytes it was decoded from.
        """

    @abstractmethod
    def _start(self, reply: dict[str, Any], data: bytes) -> Started:
        """Begin the reply; the object is empty if the provider has not announced it."""

    @abstractmethod
    def _decode_end(self) -> Sequence[Event]:
        """Return the `Finished` that is still due once the bytes have ended, or raise."""

    def _decode_done(self, frame: SseFrame) -> Sequence[Event]:
        """Skip OpenAI's end marker, which some gateways also send in other dialects.

        In those the marker does not end the reply, and a reader that got it would stop too early.
        """
        return NO_EVENTS

    def _decode_comment(self, frame: SseFrame) -> Sequence[Event]:
        if not self._is_started:
            return NO_EVENTS
        return (Opaque(kind="comment", frame=Frame(wire=self.wire, data=frame.raw)),)

    def _decode_body(self, body: dict[str, Any], data: bytes, frame: SseFrame) -> Sequence[Event]:
        is_first = not self._is_started
        events = self._decode_events(body, data)
        if not events:
            return NO_EVENTS
        raw = self._passed_bytes(body, frame)
        if is_first:
            if all(isinstance(event, Opaque) for event in events):
                self._prelude += raw
                return NO_EVENTS
            raw = self._prelude + raw
            if not self._is_started:
                events.insert(0, self._start({}, b""))
        events[0] = replace(events[0], frame=Frame(wire=self.wire, data=raw))
        return events

    def _passed_bytes(self, body: dict[str, Any], frame: SseFrame) -> bytes:
        """Return the bytes of a decoded frame for a client of this dialect."""
        return frame.raw

    def _incomplete(self, missing: str) -> Incomplete:
        return Incomplete(
            f"The reply ended without {missing}, so it was cut off."
            " What has come so far may have been billed.",
            generation_id=self._generation_id,
            model=self._model,
        )

    def _protocol_error(self, what: str, raw: bytes) -> ProtocolError:
        return ProtocolError(
            f"The provider sent {what}: {excerpt(raw)!r}. Ask again, or ask another model.",
            model=self._model,
        )


def _with_valid_text(frame: SseFrame) -> SseFrame:
    """Return the frame with U+FFFD in place of bytes that are not UTF-8, which clients refuse."""
    try:
        frame.raw.decode()
    except UnicodeDecodeError:
        return frame._replace(raw=frame.raw.decode(errors="replace").encode())
    return frame
