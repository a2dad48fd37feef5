"""The translator of chat completions: its pieces put together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from devflow_core.chat import ChatRequest, ChatResponse, Event, JsonObject, WireName
from devflow_core.errors import DevFlowError
from devflow_core.wire.body import dump, load_event
from devflow_core.wire.openai_chat import (
    decode_request,
    encode_events,
    encode_request,
    encode_response,
)
from devflow_core.wire.openai_chat.decode_events import ChatDecoder
from devflow_core.wire.openai_error import error_fields
from devflow_core.wire.protocol import EncodedRequest, EventDecoder, EventEncoder


class OpenAiChat:
    """The translator; its methods are described in `Translator`."""

    name: ClassVar[WireName] = "openai_chat"

    def decode_request(self, body: JsonObject, headers: Mapping[str, str]) -> ChatRequest:
        """A caller's request."""
        return decode_request.decode_request(body, headers)

    def encode_request(
        self, request: ChatRequest, model: str, overrides: JsonObject | None = None
    ) -> EncodedRequest:
        """The body for an upstream."""
        return encode_request.encode_request(request, model, overrides)

    def decoder(self, model: str | None = None) -> EventDecoder:
        """A decoder for one streamed reply."""
        return ChatDecoder(model)

    def decode_response(self, body: bytes, model: str | None = None) -> tuple[Event, ...]:
        """The events of a whole reply."""
        return tuple(ChatDecoder(model).take_whole(load_event(body), body))

    def encoder(self, request: ChatRequest) -> EventEncoder:
        """An encoder for one streamed reply."""
        return encode_events.ChatEncoder(request)

    def encode_response(
        self,
        response: ChatResponse,
        request: ChatRequest,
        annotations: JsonObject | None = None,
    ) -> bytes:
        """A whole reply."""
        return encode_response.encode_response(response, request, annotations)

    def encode_error(self, error: DevFlowError, request_id: str) -> bytes:
        """A failure before the reply."""
        return dump({"error": error_fields(error, request_id)})
