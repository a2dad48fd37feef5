"""OpenAI's chat completions, with the additions of routers."""

from devflow_core.wire.dialect import Dialect
from devflow_core.wire.openai_chat.decode_events import ChatDecoder
from devflow_core.wire.openai_chat.decode_request import decode_request
from devflow_core.wire.openai_chat.encode_events import ChatEncoder
from devflow_core.wire.openai_chat.encode_request import encode_request
from devflow_core.wire.openai_chat.encode_response import encode_response
from devflow_core.wire.openai_error import error_body

OPENAI_CHAT = Dialect(
    name="openai_chat",
    request_decoder=decode_request,
    request_encoder=encode_request,
    decoder_factory=ChatDecoder,
    encoder_factory=ChatEncoder,
    response_encoder=encode_response,
    error_encoder=error_body,
)
