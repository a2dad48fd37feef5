"""The table of wire formats. A new one is a folder and a line here."""

from __future__ import annotations

from types import MappingProxyType

from devflow_core.chat import WireName
from devflow_core.wire.anthropic_messages import AnthropicMessages
from devflow_core.wire.openai_chat import OpenAiChat
from devflow_core.wire.openai_responses import OpenAiResponses
from devflow_core.wire.protocol import Translator

TRANSLATORS = MappingProxyType[WireName, Translator](
    {
        "openai_chat": OpenAiChat(),
        "anthropic_messages": AnthropicMessages(),
        "openai_responses": OpenAiResponses(),
    }
)
"""Every wire we speak, by name."""


def translator(wire: WireName) -> Translator:
    """The translator of a wire."""
    return TRANSLATORS[wire]
