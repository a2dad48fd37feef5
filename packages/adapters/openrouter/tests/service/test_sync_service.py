"""The synchronous twin: the same results and errors, for threads without an event loop."""

import asyncio
import inspect
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from devflow_core.errors import ConfigurationError
from devflow_core.memory import MemoryBook
from devflow_openrouter.service import (
    OpenRouterRejectedError,
    OpenRouterService,
    SyncOpenRouterService,
)
from devflow_openrouter.testing import (
    CANARY,
    ScriptedUpstream,
    error_reply,
    http_reply,
    streamed_reply,
)

MODEL = "anthropic/claude-haiku-4.5"


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:  # shadows the asynchronous one
    """A scripted upstream in a thread of its own."""
    scripted, is_ready, end = ScriptedUpstream(), threading.Event(), list[Any]()

    async def serve() -> None:
        async with scripted.serve():
            done = asyncio.Event()
            end.append((asyncio.get_running_loop(), done))
            is_ready.set()
            await done.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert is_ready.wait(60)
    yield scripted
    loop, done = end[0]
    loop.call_soon_threadsafe(done.set)
    thread.join(60)


def make(upstream: ScriptedUpstream, **options: Any) -> SyncOpenRouterService:
    service = SyncOpenRouterService(
        CANARY, MODEL, base_url=upstream.base_url, backoff_factor=0.0, **options
    )
    service.options.ledger = MemoryBook()
    return service


def test_it_answers_without_a_loop(upstream: ScriptedUpstream) -> None:
    upstream.add_script(streamed_reply("one")).add_script(streamed_reply("two"))
    upstream.add_script(http_reply(b'{"data":[]}')).add_script(error_reply(401))
    with make(upstream) as service:
        assert service.base_url == upstream.base_url
        assert service.generate_completion("x") == "one"
        service.model_name = "openai/gpt-4o"
        reply = service.chat_completion([{"role": "user", "content": "x"}])
        assert reply["choices"][0]["message"]["content"] == "two"
        assert service.health_check()
        with pytest.raises(OpenRouterRejectedError):
            service.generate_completion("x")
    assert b'"openai/gpt-4o"' in upstream.requests[1]


def test_threads_share_it(upstream: ScriptedUpstream) -> None:
    upstream.add_script(streamed_reply("same"))
    with make(upstream) as service, ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(service.generate_completion, "abcdefghijklmnop"))
    assert set(texts) == {"same"}


def test_a_closed_one_ends_its_thread_and_opens_again(upstream: ScriptedUpstream) -> None:
    upstream.add_script(streamed_reply("one"))
    service = make(upstream)
    for _ in range(2):
        assert service.generate_completion("x") == "one"
        assert "devflow-service" in {one.name for one in threading.enumerate()}
        service.close()
        assert "devflow-service" not in {one.name for one in threading.enumerate()}
    service.close()


def test_a_call_from_its_own_thread_is_refused_and_does_not_hang(
    upstream: ScriptedUpstream,
) -> None:
    upstream.add_script(error_reply(401)).add_script(streamed_reply("one"))
    refusals: list[str] = []
    with make(upstream) as service:

        def ask_within(_alert: object) -> None:
            try:
                service.generate_completion("x")
            except ConfigurationError as error:
                refusals.append(error.message)

        service.options.on_alert = ask_within
        with pytest.raises(OpenRouterRejectedError):
            service.generate_completion("x")
    assert len(refusals) == 1
    assert "Call OpenRouterService there" in refusals[0]


def test_a_program_that_forgets_to_close_it_ends(upstream: ScriptedUpstream) -> None:
    upstream.add_script(streamed_reply("bye"))
    program = f"""
from devflow_openrouter.service import SyncOpenRouterService
service = SyncOpenRouterService({CANARY!r}, {MODEL!r}, base_url={upstream.base_url!r})
print(service.generate_completion("x"))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, "bye\n"), done.stderr


def test_both_have_the_same_names_and_arguments() -> None:
    named = {
        name
        for name, _ in inspect.getmembers(OpenRouterService, inspect.isfunction)
        if not name.startswith("_")
    } - {"aclose", "ahealth_check"}
    for name in named:
        theirs = inspect.signature(getattr(OpenRouterService, name)).parameters
        ours = inspect.signature(getattr(SyncOpenRouterService, name)).parameters
        assert list(theirs.items()) == list(ours.items()), name
