"""Defines what a dialect declares: its facts, and its encoders and decoders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from devflow_core.errors import DevFlowError
from devflow_core.events import Event
from devflow_core.messages import JsonObject, WireName
from devflow_core.request import ChatRequest
from devflow_core.response import ChatResponse
from devflow_core.wire.body import dump, load_event
from devflow_core.wire.protocol import EncodedRequest, EventDecoder, EventEncoder, ReplyDecoder


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One format of requests and replies, with everything other modules need to know about it."""

    name: WireName
    summary: str
    """The summary of its route in the OpenAPI description."""
    path: str
    """The path of its calls, below `/v1` of this gateway and below the base URL of a provider."""
    body_schema: JsonObject
    """The JSON Schema of the body fields that every client sends."""
    output_limit_field: str
    """The field of a body that limits the tokens of the reply."""
    free_fields: frozenset[str]
    """Fields of a body that cost nothing besides their tokens.

    Other fields are sent as well; but where a cost limit must be kept, a request with a field of
    unknown cost is refused.
    """
    has_shape: Callable[[JsonObject], bool]
    """Returns whether a body that came without a path can only be of this dialect."""
    ping: bytes | None = None
    """An event that keeps the connection of a waiting client open; None: a comment is sent."""
    client_header: str | None = None
    """A header that only clients of this dialect send, in lower case; None: there is none."""
    statuses: Mapping[str, int] = field(default_factory=dict[str, int])
    """Error code → status, where clients of this dialect misunderstand the error's own status."""

    # the functions behind the methods below, which say what they do
    request_decoder: Callable[[JsonObject, Mapping[str, str]], ChatRequest]
    request_encoder: Callable[[ChatRequest, str, JsonObject | None], EncodedRequest]
    decoder_factory: Callable[[str | None], ReplyDecoder]
    encoder_factory: Callable[[ChatRequest], EventEncoder]
    response_encoder: Callable[[ChatResponse, ChatRequest, JsonObject | None], bytes]
    error_encoder: Callable[[DevFlowError, str], JsonObject]

    def decode_request(self, body: JsonObject, headers: Mapping[str, str], /) -> ChatRequest:
        """Decode a client's request.

        Args:
            body: the result of `parse_body`; kept in `origin`, never changed.
            headers: the HTTP headers, names in lower case; those of the dialect are kept.

        Raises:
            InvalidRequest: a value is wrong; the message names its path.
        """
        return self.request_decoder(body, headers)

    def encode_request(
        self, request: ChatRequest, model: str, overrides: JsonObject | None = None, /
    ) -> EncodedRequest:
        """Return the body for an upstream of this dialect, which always asks for a stream.

        A request that came in this dialect is sent as received, except for the model, `stream`, the
        overrides, and reasoning that another vendor has signed.

        Args:
            request: what is asked.
            model: the model to ask.
            overrides: top-level fields to set (`provider`…).

        Raises:
            InvalidRequest: it holds something that this dialect cannot express and that must not be
                left out.
        """
        return self.request_encoder(request, model, overrides)

    def make_decoder(self, model: str | None = None, /) -> EventDecoder:
        """Return a decoder for one streamed reply; its errors name the model."""
        return self.decoder_factory(model)

    def decode_response(self, body: bytes, model: str | None = None, /) -> tuple[Event, ...]:
        """Return the events of a reply that came whole, `Finished` last.

        Args:
            body: the body as received.
            model: the model that was asked, for errors.

        Raises:
            DevFlowError: the body is a failure (even with status 200) or not a reply.
        """
        return tuple(self.decoder_factory(model).decode_response(load_event(body), body))

    def make_encoder(self, request: ChatRequest, /) -> EventEncoder:
        """Return an encoder of the streamed reply to this request."""
        return self.encoder_factory(request)

    def encode_response(
        self,
        response: ChatResponse,
        request: ChatRequest,
        annotations: JsonObject | None = None,
        /,
    ) -> bytes:
        """Return a whole reply as a JSON body.

        Args:
            response: the reply.
            request: the request that it answers.
            annotations: our own fields, for the field `devflow` of the body; None: no such field.
        """
        return self.response_encoder(response, request, annotations)

    def status_of(self, error: DevFlowError, /) -> int:
        """Return the HTTP status that clients of this dialect get for a failure."""
        return self.statuses.get(error.code, error.status_hint)

    def encode_error(self, error: DevFlowError, request_id: str, /) -> bytes:
        """Return a failure before the reply has begun, as a JSON body with the request's id."""
        return dump(self.error_encoder(error, request_id))
