"""The table of wire formats. A new one is a folder and a line here."""

from __future__ import annotations

from types import MappingProxyType

from devflow_core.messages import WireName
from devflow_core.wire.anthropic_messages import ANTHROPIC_MESSAGES
from devflow_core.wire.openai_chat import OPENAI_CHAT
from devflow_core.wire.openai_responses import OPENAI_RESPONSES
from devflow_core.wire.protocol import Translator

TRANSLATORS = MappingProxyType[WireName, Translator](
    {
        "openai_chat": OPENAI_CHAT,
        "anthropic_messages": ANTHROPIC_MESSAGES,
        "openai_responses": OPENAI_RESPONSES,
    }
)
"""Every wire we speak, by name."""


def get_translator(wire: WireName) -> Translator:
    """The translator of a wire."""
    return TRANSLATORS[wire]
