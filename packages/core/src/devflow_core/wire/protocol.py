"""Defines what a dialect creates: encoded requests, and an encoder and decoder per reply."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from devflow_core.errors import DevFlowError
from devflow_core.events import Event
from devflow_core.messages import JsonObject
from devflow_core.wire.sse import SseFrame


class EncodedRequest(NamedTuple):
    """A request as bytes for an upstream."""

    body: bytes
    omitted: tuple[str, ...] = ()
    """The parts left out because this dialect or model cannot take them; one entry each."""


class EventDecoder(Protocol):
    """Turns the frames of one streamed reply into events; one per reply."""

    @property
    def finished(self) -> bool:
        """Whether `Finished` has been returned."""
        ...

    def feed(self, frame: SseFrame, /) -> Sequence[Event]:
        """Return the events of one frame; exactly one of them, if any, carries the frame's bytes.

        Comments before the reply and frames after its end yield nothing. What the hub cannot
        express comes as `Opaque`.

        Raises:
            DevFlowError: the provider reports a failure, or the frame is not an event of the
                dialect.
        """
        ...

    def close(self) -> Sequence[Event]:
        """Return the events that are still due once the bytes have ended, `Finished` last, or none.

        Raises:
            DevFlowError: the reply was cut off (`Incomplete`), or ended in an error.
        """
        ...


class ReplyDecoder(EventDecoder, Protocol):
    """A decoder that also decodes replies that come whole."""

    def decode_response(self, body: dict[str, Any], raw: bytes, /) -> list[Event]:
        """Return the events of a reply that came whole, `Finished` last.

        Args:
            body: the decoded body.
            raw: the bytes it was decoded from.

        Raises:
            DevFlowError: the body is a failure, or not a reply.
        """
        ...


class EventEncoder(Protocol):
    """Turns events into the bytes of one streamed reply; one per reply.

    If the first event carries a frame of this dialect, all frames are passed on; they are changed
    only to add our own fields, or to repair what the client would misread.
    """

    def annotate(self, annotations: JsonObject, /) -> None:
        """Set our own fields (`cost_usd`…) for the usage event; call it before that is encoded."""
        ...

    def encode(self, event: Event, /) -> bytes:
        """Return the bytes to send for this event; often empty."""
        ...

    def encode_error(self, error: DevFlowError, request_id: str, /) -> bytes:
        """Return the bytes of a failure in the middle of the stream, which end it."""
        ...
