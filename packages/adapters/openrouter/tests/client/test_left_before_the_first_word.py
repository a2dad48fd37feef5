"""A call that is left while the model still thinks can be looked up at the provider afterwards."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from devflow_core.ledger import LedgerEntry
from devflow_core.memory import MemoryBook
from devflow_core.request import ChatRequest
from devflow_core.settings import Settings
from devflow_openrouter import OpenRouterGateway
from devflow_upstream.transport.protocol import HttpRequest


class ThinkingExchange:
    """A reply of which only the head has come."""

    status = 200
    headers: Mapping[str, str] = {
        "content-type": "text/event-stream",
        "x-generation-id": "gen-1780944465-thinking",
    }

    def __init__(self, deadline_s: float, reading: asyncio.Event) -> None:
        self.deadline_s = deadline_s
        self._reading = reading

    async def read(self) -> bytes:
        self._reading.set()
        await asyncio.Event().wait()
        return b""

    async def close(self, *, is_complete: bool) -> None:
        assert not is_complete


class ThinkingTransport:
    """Answers every request with a `ThinkingExchange`."""

    def __init__(self) -> None:
        self.reading = asyncio.Event()

    async def start(self, request: HttpRequest, /, *, deadline_s: float) -> ThinkingExchange:
        return ThinkingExchange(deadline_s, self.reading)

    async def aclose(self) -> None: ...


async def _leave(folder: Path) -> LedgerEntry:
    book, transport = MemoryBook(), ThinkingTransport()
    settings = Settings.load({}, api_key="sk-or-test", data_dir=folder)
    async with OpenRouterGateway(settings, book=book, transport=transport) as gateway:
        request = ChatRequest.from_text("Hi", model="openai/gpt-5-mini")
        call = asyncio.create_task(gateway.complete(request))
        await transport.reading.wait()
        call.cancel()
        with suppress(asyncio.CancelledError):
            await call
    (entry,) = book.ledger.entries
    return entry


async def test_its_attempt_has_the_providers_id(tmp_path: Path) -> None:
    entry = await _leave(tmp_path)
    assert entry.outcome == "cancelled"
    assert [one.generation_id for one in entry.attempts] == ["gen-1780944465-thinking"]
