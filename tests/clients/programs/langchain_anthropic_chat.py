"""LangChain's `ChatAnthropic`."""

from driver import play
from langchain_anthropic import ChatAnthropic
from langchain_driver import LangChain


class AnthropicModel(LangChain):
    def __init__(self, url, key):
        self.url, self.key = url, key

    def make(self, model):
        return ChatAnthropic(
            model=model, base_url=self.url, api_key=self.key, max_retries=0, max_tokens=1000
        )

    def cost(self, message):
        # of a stream LangChain keeps the tokens alone
        return message.response_metadata.get("usage", {}).get("cost")

    def finish(self, message):
        return message.response_metadata["stop_reason"]


play(AnthropicModel)
