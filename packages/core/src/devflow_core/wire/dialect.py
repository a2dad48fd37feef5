"""What a dialect declares: its facts, and how it is read and written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from devflow_core.errors import DevFlowError
from devflow_core.events import Event
from devflow_core.messages import JsonObject, WireName
from devflow_core.request import ChatRequest
from devflow_core.response import ChatResponse
from devflow_core.wire.body import dump, load_event
from devflow_core.wire.protocol import EncodedRequest, EventDecoder, EventEncoder, ReplyDecoder


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One wire format, in both directions, with all that anybody else must know of it."""

    name: WireName
    summary: str
    """Of its route, for people who read the OpenAPI description."""
    path: str
    """Of its calls: below `/v1` of this gateway, and below the base URL of a provider."""
    body_schema: JsonObject
    """JSON Schema of the part of a body that every client sends; of an object."""
    output_limit_field: str
    """The field of a body that bounds the tokens of the reply."""
    free_fields: frozenset[str]
    """Fields of a body that cost nothing beside the tokens they hold. Others are sent as well; but
    where a limit has to be kept, a field of unknown cost is refused."""
    has_shape: Callable[[JsonObject], bool]
    """Whether a body that came without a path is one of this dialect and of no other."""
    ping: bytes | None = None
    """An event that clients take for a sign of life. None: they heed comments."""

    request_decoder: Callable[[JsonObject, Mapping[str, str]], ChatRequest]
    request_encoder: Callable[[ChatRequest, str, JsonObject | None], EncodedRequest]
    decoder_factory: Callable[[str | None], ReplyDecoder]
    encoder_factory: Callable[[ChatRequest], EventEncoder]
    response_encoder: Callable[[ChatResponse, ChatRequest, JsonObject | None], bytes]
    error_encoder: Callable[[DevFlowError, str], JsonObject]

    def decode_request(self, body: JsonObject, headers: Mapping[str, str], /) -> ChatRequest:
        """A caller's request.

        Args:
            body: as from `parse_body`; kept in `origin`, never changed.
            headers: of the HTTP request, names in lower case; those of the dialect are kept.

        Raises:
            InvalidRequest: with the path of what is wrong.
        """
        return self.request_decoder(body, headers)

    def encode_request(
        self, request: ChatRequest, model: str, overrides: JsonObject | None = None, /
    ) -> EncodedRequest:
        """The body for an upstream of this dialect, always asking for a stream.

        A request that came in by it goes out as it came, except for the model, `stream`, the
        overrides, and thinking that another vendor has signed.

        Args:
            request: what is asked.
            model: the model to ask.
            overrides: top-level fields to set (`provider`…).

        Raises:
            InvalidRequest: it holds what this dialect cannot say and what must not be left out.
        """
        return self.request_encoder(request, model, overrides)

    def make_decoder(self, model: str | None = None, /) -> EventDecoder:
        """A decoder for one streamed reply; the model is named in its errors."""
        return self.decoder_factory(model)

    def decode_response(self, body: bytes, model: str | None = None, /) -> tuple[Event, ...]:
        """The events of a reply that came whole, `Finished` last.

        Raises:
            DevFlowError: the body is a failure (also one sent with status 200) or no reply.
        """
        return tuple(self.decoder_factory(model).decode_response(load_event(body), body))

    def make_encoder(self, request: ChatRequest, /) -> EventEncoder:
        """An encoder for the streamed reply to this request."""
        return self.encoder_factory(request)

    def encode_response(
        self,
        response: ChatResponse,
        request: ChatRequest,
        annotations: JsonObject | None = None,
        /,
    ) -> bytes:
        """A whole reply as a JSON body."""
        return self.response_encoder(response, request, annotations)

    def encode_error(self, error: DevFlowError, request_id: str, /) -> bytes:
        """A failure before the reply has begun, as a JSON body."""
        return dump(self.error_encoder(error, request_id))
