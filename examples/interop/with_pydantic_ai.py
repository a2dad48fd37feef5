"""An agent of pydantic-ai with a tool and a typed answer, over the gateway.

uv run --with 'pydantic-ai-slim[openai]' python examples/interop/with_pydantic_ai.py
"""

import asyncio

from devflow_gateway import AsyncGateway
from devflow_gateway.interop.pydantic_ai import make_model
from pydantic import BaseModel
from pydantic_ai import Agent


class Verdict(BaseModel):
    """What the agent has to find out."""

    cause: str
    is_flaky: bool


def read_log(test: str) -> str:
    """Return the last log of a test."""
    return f"{test}: KeyError: 'user'"


async def main() -> None:
    """Let one agent look, and another one judge."""
    async with AsyncGateway.from_env() as gateway:
        looking = Agent(make_model(gateway, "auto"), tools=[read_log])
        seen = await looking.run("Why does test_login fail? Please use the read_log tool.")
        judging = Agent(make_model(gateway, "auto:cheap"), output_type=Verdict)
        judged = await judging.run(seen.output)
        print(seen.output)
        print(judged.output)
        print(seen.usage.requests + judged.usage.requests, "requests")


if __name__ == "__main__":
    asyncio.run(main())
