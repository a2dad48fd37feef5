"""OpenAI's Responses, with OpenRouter's additions: what Codex speaks."""

from devflow_core.wire.openai_responses.translator import OpenAiResponses

__all__ = ["OpenAiResponses"]
