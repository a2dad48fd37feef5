"""Declares OpenAI's chat completions dialect, with the additions of routers."""

from dataclasses import replace
from functools import partial

from devflow_core.wire.common_fields import CALL_PROPERTIES, FREE_FIELDS, MESSAGES_SCHEMA
from devflow_core.wire.dialect import Dialect
from devflow_core.wire.openai_chat.decode_events import ChatDecoder
from devflow_core.wire.openai_chat.decode_request import decode_request
from devflow_core.wire.openai_chat.encode_events import ChatEncoder
from devflow_core.wire.openai_chat.encode_request import encode_request
from devflow_core.wire.openai_chat.encode_response import encode_response
from devflow_core.wire.openai_chat.name import WIRE
from devflow_core.wire.openai_error import error_body, status_code_body, status_code_fields

OPENAI_CHAT = Dialect(
    name=WIRE,
    summary="A chat completion, OpenAI's dialect",
    path="/chat/completions",
    body_schema={
        "required": ["model", "messages"],
        "properties": {**CALL_PROPERTIES, "messages": MESSAGES_SCHEMA},
    },
    output_limit_field="max_tokens",
    free_fields=FREE_FIELDS | {
        "messages", "min_p", "top_a", "frequency_penalty", "presence_penalty",
        "repetition_penalty", "logit_bias", "logprobs", "top_logprobs", "seed", "stop",
        "response_format", "reasoning_effort", "include_reasoning", "structured_outputs",
        "safe_prompt", "functions", "function_call", "enable_thinking", "chat_template_kwargs",
        "image_config", "x_search_filter",
        # for embeddings, whose cost is checked in the same way
        "input", "dimensions", "encoding_format", "input_type",
    },
    has_shape=lambda body: False,  # the default when no other dialect fits
    request_decoder=decode_request,
    request_encoder=encode_request,
    decoder_factory=ChatDecoder,
    encoder_factory=ChatEncoder,
    response_encoder=encode_response,
    error_encoder=error_body,
)  # fmt: skip

CHAT_WITH_STATUS_CODES = replace(
    OPENAI_CHAT,
    encoder_factory=partial(ChatEncoder, describe_error=status_code_fields),
    error_encoder=status_code_body,
)
"""The same dialect with a router's errors, whose code is the HTTP status."""
