"""LangChain's chat model and embeddings over the gateway.

uv run --with langchain-openai python examples/interop/with_langchain.py
"""

import asyncio

from devflow_gateway import AsyncGateway
from devflow_gateway.interop.langchain import make_chat_model, make_embeddings


async def main() -> None:
    """Ask, and turn a text into a vector."""
    async with AsyncGateway.from_env() as gateway:
        chat = make_chat_model(gateway, "auto:cheap", max_tokens=500)
        reply = await chat.ainvoke("Why does test_login fail on the second run?")
        print(reply.content)
        headers = reply.response_metadata["headers"]
        print(headers["x-devflow-model"], headers["x-devflow-cost-usd"], "USD")

        embeddings = make_embeddings(gateway, "openai/text-embedding-3-small")
        print(len(await embeddings.aembed_query("test_login")), "numbers")


if __name__ == "__main__":
    asyncio.run(main())
