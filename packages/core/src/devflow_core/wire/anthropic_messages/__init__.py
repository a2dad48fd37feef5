"""Declares Anthropic's messages dialect, with the additions of routers; Claude Code speaks it."""

from devflow_core.messages import JsonObject
from devflow_core.wire.anthropic_messages.decode_events import MessagesDecoder
from devflow_core.wire.anthropic_messages.decode_request import decode_request
from devflow_core.wire.anthropic_messages.encode_events import MessagesEncoder
from devflow_core.wire.anthropic_messages.encode_request import encode_request
from devflow_core.wire.anthropic_messages.encode_response import (
    STATUSES,
    encode_response,
    error_body,
)
from devflow_core.wire.anthropic_messages.name import WIRE
from devflow_core.wire.common_fields import CALL_PROPERTIES, FREE_FIELDS, MESSAGES_SCHEMA
from devflow_core.wire.dialect import Dialect


def _has_shape(body: JsonObject) -> bool:
    return "system" in body or any("input_schema" in one for one in body.get("tools") or ())


ANTHROPIC_MESSAGES = Dialect(
    name=WIRE,
    summary="A message, Anthropic's dialect",
    path="/messages",
    body_schema={
        "required": ["model", "messages", "max_tokens"],
        "properties": {
            **CALL_PROPERTIES,
            "messages": MESSAGES_SCHEMA,
            "max_tokens": {"type": "integer", "minimum": 1, "maximum": 100_000},
        },
    },
    output_limit_field="max_tokens",
    free_fields=FREE_FIELDS | {
        "messages", "system", "stop_sequences", "output_config", "output_format", "safeguards",
        "betas", "anthropic_beta", "anthropic_version",
    },
    has_shape=_has_shape,
    ping=b'event: ping\ndata: {"type": "ping"}\n\n',
    client_header="anthropic-version",
    statuses=STATUSES,
    request_decoder=decode_request,
    request_encoder=encode_request,
    decoder_factory=MessagesDecoder,
    encoder_factory=MessagesEncoder,
    response_encoder=encode_response,
    error_encoder=error_body,
)  # fmt: skip
