"""One wire format put together from its pieces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from devflow_core.errors import DevFlowError
from devflow_core.events import Event
from devflow_core.messages import JsonObject, WireName
from devflow_core.request import ChatRequest
from devflow_core.response import ChatResponse
from devflow_core.wire.body import dump, load_event
from devflow_core.wire.protocol import EncodedRequest, EventDecoder, EventEncoder


class ReplyDecoder(EventDecoder, Protocol):
    """A decoder that takes a reply in one piece too."""

    def decode_response(self, body: dict[str, Any], raw: bytes, /) -> list[Event]:
        """The events of a reply that came whole."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """A translator; its methods are described in `Translator`."""

    name: WireName
    request_decoder: Callable[[JsonObject, Mapping[str, str]], ChatRequest]
    request_encoder: Callable[[ChatRequest, str, JsonObject | None], EncodedRequest]
    decoder_factory: Callable[[str | None], ReplyDecoder]
    encoder_factory: Callable[[ChatRequest], EventEncoder]
    response_encoder: Callable[[ChatResponse, ChatRequest, JsonObject | None], bytes]
    error_encoder: Callable[[DevFlowError, str], JsonObject]

    def decode_request(self, body: JsonObject, headers: Mapping[str, str], /) -> ChatRequest:
        """A caller's request."""
        return self.request_decoder(body, headers)

    def encode_request(
        self, request: ChatRequest, model: str, overrides: JsonObject | None = None, /
    ) -> EncodedRequest:
        """The body for an upstream."""
        return self.request_encoder(request, model, overrides)

    def make_decoder(self, model: str | None = None, /) -> EventDecoder:
        """A decoder for one streamed reply."""
        return self.decoder_factory(model)

    def decode_response(self, body: bytes, model: str | None = None, /) -> tuple[Event, ...]:
        """The events of a whole reply."""
        return tuple(self.decoder_factory(model).decode_response(load_event(body), body))

    def make_encoder(self, request: ChatRequest, /) -> EventEncoder:
        """An encoder for one streamed reply."""
        return self.encoder_factory(request)

    def encode_response(
        self,
        response: ChatResponse,
        request: ChatRequest,
        annotations: JsonObject | None = None,
        /,
    ) -> bytes:
        """A whole reply."""
        return self.response_encoder(response, request, annotations)

    def encode_error(self, error: DevFlowError, request_id: str, /) -> bytes:
        """A failure before the reply."""
        return dump(self.error_encoder(error, request_id))
