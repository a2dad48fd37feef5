"""What a wire format is to the rest of the system: four functions and two small machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from devflow_core.errors import DevFlowError
from devflow_core.events import Event
from devflow_core.messages import JsonObject, WireName
from devflow_core.request import ChatRequest
from devflow_core.response import ChatResponse
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


class Translator(Protocol):
    """One wire format, in both directions."""

    @property
    def name(self) -> WireName:
        """The wire's name."""
        ...

    def decode_request(self, body: JsonObject, headers: Mapping[str, str], /) -> ChatRequest:
        """A caller's request.

        Args:
            body: as from `parse_body`; kept in `origin`, never changed.
            headers: of the HTTP request, names in lower case; those of the dialect are kept.

        Raises:
            InvalidRequest: with the path of what is wrong.
        """
        ...

    def encode_request(
        self, request: ChatRequest, model: str, overrides: JsonObject | None = None, /
    ) -> EncodedRequest:
        """The body for an upstream of this wire, always asking for a stream.

        A request that came in by this wire goes out as it came, except for the model, `stream`,
        the overrides, and thinking that another vendor has signed.

        Args:
            request: what is asked.
            model: the model to ask.
            overrides: top-level fields to set (`provider`…).

        Raises:
            InvalidRequest: it holds what this wire cannot say and what must not be left out.
        """
        ...

    def make_decoder(self, model: str | None = None, /) -> EventDecoder:
        """A decoder for one streamed reply; the model is named in its errors."""
        ...

    def decode_response(self, body: bytes, model: str | None = None, /) -> tuple[Event, ...]:
        """The events of a reply that came whole, `Finished` last.

        Raises:
            DevFlowError: the body is a failure (also one sent with status 200) or no reply.
        """
        ...

    def make_encoder(self, request: ChatRequest, /) -> EventEncoder:
        """An encoder for the reply to this request."""
        ...

    def encode_response(
        self,
        response: ChatResponse,
        request: ChatRequest,
        annotations: JsonObject | None = None,
        /,
    ) -> bytes:
        """A whole reply as a JSON body."""
        ...

    def encode_error(self, error: DevFlowError, request_id: str, /) -> bytes:
        """A failure before the reply has begun, as the JSON body of this dialect."""
        ...
