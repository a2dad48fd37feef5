"""LangChain's `ChatOpenAI`."""

from driver import play
from langchain_driver import LangChain
from langchain_openai import ChatOpenAI


class OpenAIModel(LangChain):
    def __init__(self, url, key):
        self.url, self.key = url, key

    def make(self, model):
        return ChatOpenAI(
            model=model,
            base_url=f"{self.url}/v1",
            api_key=self.key,
            max_retries=0,
            stream_usage=True,
        )

    def cost(self, message):
        # of a stream LangChain keeps the tokens alone
        return message.response_metadata.get("token_usage", {}).get("cost")

    def finish(self, message):
        return message.response_metadata["finish_reason"]


play(OpenAIModel)
