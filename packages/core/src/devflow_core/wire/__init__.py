"""The wire formats and the table of their translators. A new one is a folder and a line here."""

from types import MappingProxyType

from devflow_core.chat import WireName
from devflow_core.wire.body import parse_body
from devflow_core.wire.openai_chat import OpenAiChat
from devflow_core.wire.protocol import EncodedRequest, EventDecoder, EventEncoder, Translator
from devflow_core.wire.sse import SseFrame, SseReader
from devflow_core.wire.upstream_errors import error_from_body

__all__ = [
    "TRANSLATORS",
    "EncodedRequest",
    "EventDecoder",
    "EventEncoder",
    "SseFrame",
    "SseReader",
    "Translator",
    "error_from_body",
    "parse_body",
    "translator",
]

TRANSLATORS = MappingProxyType[WireName, Translator]({"openai_chat": OpenAiChat()})
"""Every wire we speak, by name."""


def translator(wire: WireName) -> Translator:
    """The translator of a wire."""
    return TRANSLATORS[wire]
