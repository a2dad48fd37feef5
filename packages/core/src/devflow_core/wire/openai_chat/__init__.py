"""OpenAI's chat completions, with OpenRouter's additions."""

from devflow_core.wire.openai_chat.translator import OpenAiChat

__all__ = ["OpenAiChat"]
