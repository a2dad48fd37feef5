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
    requests_in=decode_request,
    requests_out=encode_request,
    replies_in=ResponsesDecoder,
    replies_out=ResponsesEncoder,
    wholes_out=encode_response,
    errors_out=error_body,
)
