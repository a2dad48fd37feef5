"""The wire formats: bytes of three dialects in and out of the hub's words."""

from devflow_core.wire.body import parse_body
from devflow_core.wire.errors import error_from_body
from devflow_core.wire.protocol import EncodedRequest, EventDecoder, EventEncoder, Translator
from devflow_core.wire.sse import SseFrame, SseReader
from devflow_core.wire.translators import get_translator

__all__ = [
    "EncodedRequest",
    "EventDecoder",
    "EventEncoder",
    "SseFrame",
    "SseReader",
    "Translator",
    "error_from_body",
    "get_translator",
    "parse_body",
]
