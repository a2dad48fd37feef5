"""OpenAI's Responses, with the additions of routers: what Codex speaks."""

from devflow_core.wire.dialect import Dialect
from devflow_core.wire.openai_error import error_body
from devflow_core.wire.openai_responses.decode_events import ResponsesDecoder
from devflow_core.wire.openai_responses.decode_request import decode_request
from devflow_core.wire.openai_responses.encode_events import ResponsesEncoder
from devflow_core.wire.openai_responses.encode_request import encode_request
from devflow_core.wire.openai_responses.encode_response import encode_response

OPENAI_RESPONSES = Dialect(
    name="openai_responses",
    request_decoder=decode_request,
    request_encoder=encode_request,
    decoder_factory=ResponsesDecoder,
    encoder_factory=ResponsesEncoder,
    response_encoder=encode_response,
    error_encoder=error_body,
)
