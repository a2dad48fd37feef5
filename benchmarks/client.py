"""Measures a call and a streamed event, beside the clients that people use otherwise.

All ask the same instant upstream, a process of its own, for the same kilobyte of text; rounds are
interleaved. Ours streams in any case; the others stream only where that is measured.

    cpu_us        CPU of one call, 64 in flight
    sequential_us time of one call, one after the other
    calls_per_s   64 in flight
    chunk_cpu_us  CPU of one more event of a stream, read to its end

`gateway` has everything on: classification, routing over the whole catalogue, booking (in memory),
rate limits, circuit breaker, retries. `attempt` is one attempt over HTTP without policies;
`over_httpx` is the same over httpx with its own transport; `floor` is what sockets cost without any
client. litellm takes part when it lies in `.peers/client/`
(`uv pip install --target .peers/client litellm`).
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import logging
import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import harness
import httpx
import upstream
from devflow_core import ChatRequest
from devflow_core.journal import Journal
from devflow_core.memory import MemoryBook
from devflow_core.ports import Call, UpstreamKey
from devflow_core.settings import Settings
from devflow_core.testing import a_candidate
from devflow_openrouter import OpenRouterGateway
from devflow_openrouter.client.api_client import ApiClient
from devflow_upstream import Http1Transport
from devflow_upstream.transport.httpx_transport import HttpxTransport

KEY = "sk-or-v1-benchmark"
PROMPT = "Why does test_login fail?"
PEERS = Path(__file__).parents[1] / ".peers" / "client"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A client to measure."""

    name: str
    call: Callable[[], Awaitable[object]]
    stream: Callable[[str], Awaitable[int]]
    """Reads a whole stream of this model; returns the number of events."""
    effort: float = 1.0
    """The share of the calls that it makes; slow clients make fewer."""


@asynccontextmanager
async def gateway(base_url: str) -> AsyncGenerator[Subject]:
    """Open our library with everything on."""
    settings = Settings.model_validate({"base_url": base_url, "api_key": KEY})
    request = ChatRequest.from_text(PROMPT)

    async with OpenRouterGateway(settings, ledger="memory") as ours:

        async def stream(model: str) -> int:
            count = 0
            async with ours.stream(replace(request, extra={"user": model})) as events:
                async for _ in events:
                    count += 1
            return count

        yield Subject(name="gateway", call=lambda: ours.complete(request), stream=stream)


@asynccontextmanager
async def attempt(base_url: str, *, is_httpx: bool = False) -> AsyncGenerator[Subject]:
    """Open a single attempt of ours, without policies."""
    transport = (
        HttpxTransport(base_url, httpx.AsyncHTTPTransport())
        if is_httpx
        else Http1Transport(base_url)
    )
    api = ApiClient(transport)
    key = UpstreamKey(secret=KEY, id="bench", source="server")
    request = ChatRequest.from_text(PROMPT)
    book = MemoryBook()

    async def stream(model: str) -> int:
        loop_s = asyncio.get_running_loop().time()
        journal = Journal(request, book=book, deadline_s=loop_s + 600)
        call = Call(request=request, candidate=a_candidate(model), journal=journal, key=key)
        count = 0
        async with api.open(call) as events:
            async for _ in events:
                count += 1
        return count

    name = "attempt over_httpx" if is_httpx else "attempt"
    yield Subject(name=name, call=lambda: stream("bench/model"), stream=stream)
    await transport.aclose()


@asynccontextmanager
async def floor(base_url: str) -> AsyncGenerator[Subject]:
    """Open bare sockets: bytes out and in, without parsing, as the lower bound."""
    url = urlsplit(base_url)
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def stream(model: str) -> int:
        pair = (
            idle.pop()
            if idle
            else await asyncio.open_connection(url.hostname, url.port, limit=2**24)
        )
        body = b'{"model":"%b","stream":true}' % model.encode()
        head = b"POST /chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body)
        pair[1].write(head + body)
        count = (await pair[0].readuntil(b"0\r\n\r\n")).count(b"data: ")
        idle.append(pair)
        return count

    yield Subject(name="floor", call=lambda: stream("bench/model"), stream=stream)
    for _, writer in idle:
        writer.close()


@asynccontextmanager
async def openai_sdk(base_url: str) -> AsyncGenerator[Subject]:
    """Open the OpenAI SDK, configured as for OpenRouter."""
    import openai

    client = openai.AsyncOpenAI(api_key=KEY, base_url=base_url, max_retries=0)
    messages: Any = [{"role": "user", "content": PROMPT}]

    async def stream(model: str) -> int:
        count = 0
        async for _ in await client.chat.completions.create(
            model=model, messages=messages, stream=True
        ):
            count += 1
        return count

    async def call() -> object:
        return await client.chat.completions.create(model="bench/model", messages=messages)

    async with client:
        yield Subject(name="openai", call=call, stream=stream, effort=0.25)


@asynccontextmanager
async def openrouter_sdk(base_url: str) -> AsyncGenerator[Subject]:
    """Open OpenRouter's own SDK."""
    openrouter: Any = importlib.import_module("openrouter")
    utils: Any = importlib.import_module("openrouter.utils")
    never = utils.RetryConfig("none", utils.BackoffStrategy(1, 1, 1, 1), False)
    messages: Any = [{"role": "user", "content": PROMPT}]
    common: Any = {"messages": messages, "retries": never, "timeout_ms": 60_000}

    async with openrouter.OpenRouter(api_key=KEY, server_url=base_url) as client:

        async def stream(model: str) -> int:
            count = 0
            reply: Any = await client.chat.send_async(model=model, stream=True, **common)
            async with reply as events:
                async for _ in events:
                    count += 1
            return count

        async def call() -> object:
            return await client.chat.send_async(model="bench/model", **common)

        yield Subject(name="openrouter", call=call, stream=stream, effort=0.05)


@asynccontextmanager
async def litellm_sdk(base_url: str) -> AsyncGenerator[Subject]:
    """Open LiteLLM in this process."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would ask the network
    litellm: Any = importlib.import_module("litellm")
    logging.getLogger("LiteLLM").setLevel(logging.ERROR)
    messages: Any = [{"role": "user", "content": PROMPT}]
    common: Any = {"messages": messages, "api_base": base_url, "api_key": KEY, "num_retries": 0}

    async def stream(model: str) -> int:
        count = 0
        async for _ in await litellm.acompletion(model=f"openai/{model}", stream=True, **common):
            count += 1
        return count

    async def call() -> object:
        return await litellm.acompletion(model="openai/bench/model", **common)

    yield Subject(name="litellm", call=call, stream=stream, effort=0.1)


def list_subjects(base_url: str) -> list[AbstractAsyncContextManager[Subject]]:
    """Return every client that takes part."""
    all_of_them: list[AbstractAsyncContextManager[Subject]] = [
        gateway(base_url),
        attempt(base_url),
        attempt(base_url, is_httpx=True),
        floor(base_url),
        openai_sdk(base_url),
        openrouter_sdk(base_url),
    ]
    if (PEERS / "litellm").is_dir():
        sys.path.append(str(PEERS))
        all_of_them.append(litellm_sdk(base_url))
    return all_of_them


async def measure_round(subject: Subject, calls: int, chunks: int) -> tuple[float, ...]:
    """Return sequential µs, CPU µs at 64, calls per second at 64, and CPU µs per chunk."""
    count = max(8, int(calls * subject.effort))
    alone = await harness.measure_round(subject.call, max(4, count // 4))
    together = await harness.measure_round(subject.call, max(64, count), in_flight=64)
    streams = max(2, int(12 * subject.effort))
    long = await harness.measure_round(lambda: subject.stream(f"bench/chunks-{chunks}"), streams)
    short = await harness.measure_round(lambda: subject.stream("bench/chunks-1"), streams)
    chunk_us = (long.cpu_us - short.cpu_us) / (chunks - 1)
    return alone.wall_us, together.cpu_us, together.per_s, chunk_us


async def main(options: argparse.Namespace) -> None:
    """Measure all clients in interleaved rounds."""
    rounds, calls, chunks = (2, 200, 201) if options.quick else (5, 1500, 501)
    report = harness.Report()
    measured: dict[str, list[tuple[float, ...]]] = {}
    with upstream.run_upstream() as base_url:
        async with AsyncExitStack() as stack:
            everyone = [await stack.enter_async_context(one) for one in list_subjects(base_url)]
            for subject in everyone:
                await subject.call()
                await subject.stream("bench/chunks-2")
            for _ in range(rounds):
                for subject in everyone:
                    values = await measure_round(subject, calls, chunks)
                    measured.setdefault(subject.name, []).append(values)
    metrics = (("sequential_us", "µs"), ("cpu_us", "µs"), ("calls_per_s", "1/s"),
               ("chunk_cpu_us", "µs"))  # fmt: skip
    for number, (metric, unit) in enumerate(metrics):
        for name, values in measured.items():
            report.add(name, metric, unit, [one[number] for one in values])
    report.finish(options)


if __name__ == "__main__":
    asyncio.run(main(harness.parse_arguments(__doc__)))
