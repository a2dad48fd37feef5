"""OpenAI's and Anthropic's SDKs ask through the gateway in this program: no server, no socket.

uv run python examples/with_sdks.py
"""

import asyncio

import anthropic
import openai
from devflow_gateway import AsyncGateway

QUESTION = "Why does test_login fail on the second run?"


async def main() -> None:
    """Ask through each."""
    async with (
        AsyncGateway.from_env() as gateway,
        openai.AsyncOpenAI(http_client=gateway.as_httpx_client(), api_key="unused") as to_openai,
        anthropic.AsyncAnthropic(
            http_client=gateway.as_httpx_client(), api_key="unused"
        ) as to_anthropic,
    ):
        stream = await to_openai.chat.completions.create(
            model="auto", messages=[{"role": "user", "content": QUESTION}], stream=True
        )
        async for chunk in stream:
            if chunk.choices:
                print(chunk.choices[0].delta.content or "", end="", flush=True)
        raw = await to_anthropic.messages.with_raw_response.create(
            model="auto:cheap", max_tokens=500, messages=[{"role": "user", "content": QUESTION}]
        )
        reply = await raw.parse()
        print("\n")
        print("".join(part.text for part in reply.content if part.type == "text"))
        print(raw.headers["x-devflow-model"], raw.headers["x-devflow-cost-usd"], "USD")


if __name__ == "__main__":
    asyncio.run(main())
