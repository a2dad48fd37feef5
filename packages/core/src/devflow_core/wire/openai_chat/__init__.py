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
    requests_in=decode_request,
    requests_out=encode_request,
    replies_in=ChatDecoder,
    replies_out=ChatEncoder,
    wholes_out=encode_response,
    errors_out=error_body,
)
