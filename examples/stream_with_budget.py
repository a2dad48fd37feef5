"""Stream a reply with a ceiling on what it may cost, and say what it did cost.

uv run python examples/stream_with_budget.py
"""

import asyncio

from devflow_gateway import AsyncGateway, ChatRequest, TextDelta


async def main() -> None:
    """Ask once."""
    request = ChatRequest.from_text("Write a haiku about clocks.", model="auto:cheap")
    async with (
        AsyncGateway.from_env() as gateway,
        gateway.stream(request, max_cost_usd="0.05") as events,
    ):
        async for event in events:
            if isinstance(event, TextDelta):
                print(event.text, end="", flush=True)
    if events.entry is not None:
        print(f"\n\n{events.entry.model}: {events.entry.cost_usd} USD")


if __name__ == "__main__":
    asyncio.run(main())
