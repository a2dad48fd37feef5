"""Plays the adapters of `devflow_gateway.interop` with the real frameworks; results as JSON.

Run by an environment that has them, with the workspace's packages behind it (`adapted`).
"""

import asyncio
import json
import sys
from collections.abc import Awaitable

import litellm
import llm
from devflow_gateway import AsyncGateway, ConfigurationError, Gateway
from devflow_gateway.interop.langchain import make_chat_model, make_embeddings
from devflow_gateway.interop.litellm import register
from devflow_gateway.interop.pydantic_ai import make_model
from langchain_core.tools import tool
from pydantic import BaseModel
from pydantic_ai import Agent

MODEL = "anthropic/claude-haiku-4.5"
EMBEDDER = "openai/text-embedding-3-small"
ASK = "Reply with exactly: OK"
TOOL_ASK = "How warm is it? use the get_weather tool"
MESSAGES = [{"role": "user", "content": ASK}]
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
DEAR = {"X-DevFlow-Max-Cost-Usd": "0.000000001"}


class Forecast(BaseModel):
    city: str
    degrees: int


def get_weather(city: str) -> str:
    """Return the weather of a city."""
    return f"rain in {city}"


async def fault_of(call: Awaitable[object]) -> tuple[str, int | None]:
    try:
        await call
    except Exception as error:  # noqa: BLE001 - each framework has classes of its own
        return type(error).__name__, getattr(error, "status_code", None)
    return "", None


async def play_pydantic_ai(gateway: AsyncGateway) -> dict[str, object]:
    agent = Agent(make_model(gateway, MODEL))
    async with agent.run_stream(ASK) as streamed:
        pieces = [piece async for piece in streamed.stream_text(delta=True)]
    looking = await Agent(make_model(gateway, MODEL), tools=[get_weather]).run(TOOL_ASK)
    typed = await Agent(make_model(gateway, MODEL), output_type=Forecast).run("Where?")
    return {
        "text": (await agent.run(ASK)).output,
        "stream": "".join(pieces),
        "tool_calls": looking.usage.tool_calls,
        "typed": type(typed.output).__name__,
        "unknown": await fault_of(Agent(make_model(gateway, "no/such")).run(ASK)),
    }


async def play_langchain(gateway: AsyncGateway) -> dict[str, object]:
    chat = make_chat_model(gateway, MODEL)
    reply = await chat.ainvoke(ASK)
    called = await chat.bind_tools([tool(get_weather)]).ainvoke(TOOL_ASK)
    typed = await chat.with_structured_output(Forecast).ainvoke("Where?")
    try:
        chat.invoke(ASK)
    except ConfigurationError as refused:
        blocking = refused.message
    return {
        "text": reply.content,
        "cost": reply.response_metadata["headers"]["x-devflow-cost-usd"],
        "stream": "".join([chunk.content async for chunk in chat.astream(ASK)]),
        "tool": called.tool_calls[0]["name"],
        "typed": type(typed).__name__,
        "vector": len(await make_embeddings(gateway, EMBEDDER).aembed_query("a")),
        "blocking": blocking,
        "unknown": await fault_of(make_chat_model(gateway, "no/such").ainvoke(ASK)),
    }


async def play_litellm(gateway: AsyncGateway) -> dict[str, object]:
    handler = register(gateway)
    name = f"devflow/{MODEL}"
    reply = await litellm.acompletion(name, MESSAGES, temperature=0.5)
    stream = await litellm.acompletion(name, MESSAGES, stream=True)
    pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
    ask = [{"role": "user", "content": TOOL_ASK}]
    called = await litellm.acompletion(name, ask, tools=[TOOL])
    streamed = await litellm.acompletion(name, ask, tools=[TOOL], stream=True)
    parts = [chunk async for chunk in streamed]
    vectors = await litellm.aembedding(f"devflow/{EMBEDDER}", input=["a", "b"])
    results = {
        "text": reply.choices[0].message.content,
        "cost": reply._hidden_params["response_cost"],
        "stream": "".join(pieces),
        "tool": called.choices[0].message.tool_calls[0].function.name,
        "streamed_tool": litellm.stream_chunk_builder(parts)
        .choices[0]
        .message.tool_calls[0]
        .function.name,
        "vectors": len(vectors.data),
        "unknown": await fault_of(litellm.acompletion("devflow/no/such", MESSAGES)),
        "dear": await fault_of(litellm.acompletion(name, MESSAGES, extra_headers=DEAR)),
    }
    await handler.aclose()
    return results


async def play_llm() -> dict[str, object]:
    model = llm.get_async_model(f"devflow/{MODEL}")
    response = await model.prompt(ASK)
    return {"text": await response.text(), "tokens": (await response.usage()).output}


def play_blocking(gateway: Gateway) -> dict[str, object]:
    register(gateway)
    name = f"devflow/{MODEL}"
    chunks = litellm.completion(name, MESSAGES, stream=True)
    model = llm.get_model(f"devflow/{MODEL}")
    typed = model.prompt(
        "a dog", schema={"type": "object", "properties": {"n": {"type": "string"}}}
    )
    called = model.chain(TOOL_ASK, tools=[get_weather])
    return {
        "pydantic_ai": Agent(make_model(gateway, MODEL)).run_sync(ASK).output,
        "langchain": make_chat_model(gateway, MODEL).invoke(ASK).content,
        "langchain_stream": "".join(
            one.content for one in make_chat_model(gateway, MODEL).stream(ASK)
        ),
        "langchain_awaited": asyncio.run(make_chat_model(gateway, MODEL).ainvoke(ASK)).content,
        "litellm": litellm.completion(name, MESSAGES).choices[0].message.content,
        "litellm_stream": "".join(one.choices[0].delta.content or "" for one in chunks),
        "llm": model.prompt(ASK).text(),
        "llm_whole": model.prompt(ASK, stream=False).text(),
        "llm_schema": sorted(json.loads(typed.text())),
        "llm_tool": bool(called.text()),
    }


async def play() -> dict[str, object]:
    async with AsyncGateway.from_env() as gateway:
        results = {
            "pydantic_ai": await play_pydantic_ai(gateway),
            "langchain": await play_langchain(gateway),
            "litellm": await play_litellm(gateway),
        }
    return {**results, "llm": await play_llm()}


def main() -> None:
    litellm.suppress_debug_info = True  # it prints
    results = asyncio.run(play())
    with Gateway.from_env() as gateway:
        results["blocking"] = play_blocking(gateway)
    sys.stdout.write(json.dumps(results))


main()
