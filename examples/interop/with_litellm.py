"""LiteLLM asks the gateway as a provider of its own: `devflow/…`.

uv run --with litellm python examples/interop/with_litellm.py
"""

import asyncio

import litellm
from devflow_gateway import AsyncGateway
from devflow_gateway.interop.litellm import register

MESSAGES = [{"role": "user", "content": "Why does test_login fail on the second run?"}]


async def main() -> None:
    """Ask twice, whole and streamed."""
    async with AsyncGateway.from_env() as gateway:
        provider = register(gateway)
        reply = await litellm.acompletion("devflow/auto:cheap", MESSAGES, max_tokens=500)
        print(reply.choices[0].message.content)
        print(reply._hidden_params["response_cost"], "USD")  # noqa: SLF001 - LiteLLM's place

        stream = await litellm.acompletion("devflow/auto", MESSAGES, stream=True)
        async for chunk in stream:
            print(chunk.choices[0].delta.content or "", end="", flush=True)
        await provider.aclose()


if __name__ == "__main__":
    asyncio.run(main())
