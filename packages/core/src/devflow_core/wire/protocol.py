"""What a dialect makes: the bytes of a request, and two small machines for a streamed reply."""

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
    """What this wire or model cannot take and was left out, one entry each, for the caller."""


class EventDecoder(Protocol):
    """Turns the frames of one streamed reply into events; one per reply."""

    @property
    def finished(self) -> bool:
        """Whether `Finished` has been given."""
        ...

    def feed(self, frame: SseFrame, /) -> Sequence[Event]:
        """The events of one frame; exactly one of them carries the frame's bytes.

        Comments before the reply and frames after its end give nothing. What the hub has no word
        for comes as `Opaque`.

        Raises:
            DevFlowError: the provider reports a failure, or the frame is no event of this wire.
        """
        ...

    def close(self) -> Sequence[Event]:
        """The end of the bytes: a `Finished` that is still due, or nothing.

        Raises:
            Incomplete: the reply has not come to its end.
        """
        ...


class ReplyDecoder(EventDecoder, Protocol):
    """A decoder that takes a reply in one piece too."""

    def decode_response(self, body: dict[str, Any], raw: bytes, /) -> list[Event]:
        """The events of a reply that came whole."""
        ...


class EventEncoder(Protocol):
    """Turns events into the bytes of one streamed reply; one per reply.

    When the first event carries a frame of this wire, all frames pass through as they are.
    """

    def annotate(self, annotations: JsonObject, /) -> None:
        """Add our own fields (`attempts`, `cost_usd`) to the event that holds the usage."""
        ...

    def encode(self, event: Event, /) -> bytes:
        """The bytes to send for this event; often none."""
        ...

    def encode_error(self, error: DevFlowError, request_id: str, /) -> bytes:
        """A failure in the middle of the stream, and its end."""
        ...
