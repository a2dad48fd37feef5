"""Declares OpenAI's responses dialect, with the additions of routers; Codex speaks it."""

from dataclasses import replace
from functools import partial

from devflow_core.wire.common_fields import CALL_PROPERTIES, FREE_FIELDS, TEXT_SCHEMA
from devflow_core.wire.dialect import Dialect
from devflow_core.wire.openai_error import error_body, status_code_body, status_code_fields
from devflow_core.wire.openai_responses.decode_events import ResponsesDecoder
from devflow_core.wire.openai_responses.decode_request import decode_request
from devflow_core.wire.openai_responses.encode_events import ResponsesEncoder
from devflow_core.wire.openai_responses.encode_request import encode_request
from devflow_core.wire.openai_responses.encode_response import encode_response
from devflow_core.wire.openai_responses.name import WIRE

OPENAI_RESPONSES = Dialect(
    name=WIRE,
    summary="A response, OpenAI's newer dialect",
    path="/responses",
    body_schema={
        "required": ["model", "input"],
        "properties": {**CALL_PROPERTIES, "input": TEXT_SCHEMA},
    },
    output_limit_field="max_output_tokens",
    free_fields=FREE_FIELDS | {
        "input", "instructions", "text", "include", "truncation", "top_logprobs",
        "frequency_penalty", "presence_penalty", "client_metadata", "image_config",
    },
    has_shape=lambda body: "input" in body,
    request_decoder=decode_request,
    request_encoder=encode_request,
    decoder_factory=ResponsesDecoder,
    encoder_factory=ResponsesEncoder,
    response_encoder=encode_response,
    error_encoder=error_body,
)  # fmt: skip

RESPONSES_WITH_STATUS_CODES = replace(
    OPENAI_RESPONSES,
    encoder_factory=partial(ResponsesEncoder, describe_error=status_code_fields),
    error_encoder=status_code_body,
)
"""The same dialect with a router's errors, whose code is the HTTP status."""
