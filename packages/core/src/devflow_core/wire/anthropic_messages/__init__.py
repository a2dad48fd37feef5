"""Anthropic's messages, with the additions of routers: what Claude Code speaks."""

from devflow_core.wire.anthropic_messages.decode_events import MessagesDecoder
from devflow_core.wire.anthropic_messages.decode_request import decode_request
from devflow_core.wire.anthropic_messages.encode_events import MessagesEncoder
from devflow_core.wire.anthropic_messages.encode_request import encode_request
from devflow_core.wire.anthropic_messages.encode_response import encode_response, error_body
from devflow_core.wire.dialect import Dialect

ANTHROPIC_MESSAGES = Dialect(
    name="anthropic_messages",
    request_decoder=decode_request,
    request_encoder=encode_request,
    decoder_factory=MessagesDecoder,
    encoder_factory=MessagesEncoder,
    response_encoder=encode_response,
    error_encoder=error_body,
)
