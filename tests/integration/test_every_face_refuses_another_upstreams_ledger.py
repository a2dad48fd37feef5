"""Whatever a program opens, the ledger of one upstream takes no calls to another; none is sent."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from devflow_core.settings import Settings
from devflow_gateway import (
    AsyncGateway,
    ChatRequest,
    Gateway,
    OpenRouterConfigError,
    OpenRouterService,
    SyncOpenRouterService,
)
from devflow_gateway.wiring import make_store
from devflow_sandbox.threaded import ThreadedSandbox
from devflow_store import Store
from devflow_store.chain.origin import OtherUpstream

ELSEWHERE = "https://router.example/api/v1"
"""An upstream that is not on this machine; nothing here reaches it."""
MODEL = "anthropic/claude-haiku-4.5"
HELLO = [{"role": "user", "content": "Hello?"}]


@pytest.fixture
def here(openrouter_sandbox: ThreadedSandbox, tmp_path: Path) -> Settings:
    """Settings whose ledger holds one call to the stand-in."""
    settings = Settings.load(
        {"HOME": str(tmp_path)},
        base_url=openrouter_sandbox.base_url,
        api_key=openrouter_sandbox.api_key,
        data_dir=tmp_path / "data",
    )
    with Gateway(settings) as gateway:
        gateway.complete(ChatRequest.from_text("Hello?", model=MODEL))
    return settings


@pytest.fixture
def elsewhere(here: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    """The same folder with another upstream, as settings and in the environment."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DEVFLOW_DATA_DIR", str(here.data_dir))
    monkeypatch.chdir(tmp_path)
    return here.model_copy(update={"base_url": ELSEWHERE})


class Line:
    """A connection that counts what is sent through it."""

    def __init__(self) -> None:
        self.sent = 0

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self._answer))

    def _answer(self, _request: httpx.Request) -> httpx.Response:
        self.sent += 1
        return httpx.Response(500)


def _entries(settings: Settings) -> int:
    return sum(1 for _ in make_store(settings).entries())


def test_both_service_objects_refuse(here: Settings, elsewhere: Settings) -> None:
    line = Line()

    async def ask() -> None:
        made = OpenRouterService("sk-or-v1-x", MODEL, base_url=ELSEWHERE, http_client=line.client())
        async with made as service:
            await service.chat_completion(HELLO)

    with pytest.raises((OpenRouterConfigError, OtherUpstream), match="--data-dir"):
        asyncio.run(ask())
    with (
        SyncOpenRouterService(
            "sk-or-v1-x", MODEL, base_url=ELSEWHERE, http_client=line.client()
        ) as twin,
        pytest.raises(OpenRouterConfigError, match=r"router\.example/api/v1"),
    ):
        twin.chat_completion(HELLO)
    assert (line.sent, _entries(here)) == (0, 1)


async def test_a_ledger_that_a_program_opened_itself_is_refused_too(
    here: Settings, elsewhere: Settings
) -> None:
    """Its opener named the other upstream, or none; the gateway that calls has the say."""
    for store in (make_store(here), Store(here.data_dir / "ledger.db")):
        async with store:
            with pytest.raises(OtherUpstream):
                await AsyncGateway(elsewhere, book=store).__aenter__()
    line = Line()
    async with make_store(here) as book:
        service = OpenRouterService(
            "sk-or-v1-x", MODEL, base_url=ELSEWHERE, http_client=line.client()
        )
        service.options.ledger = book
        with pytest.raises(OpenRouterConfigError):
            await service.chat_completion(HELLO)
        await service.aclose()
    assert (line.sent, _entries(here)) == (0, 1)


async def test_no_client_of_httpx_comes_from_it(elsewhere: Settings) -> None:
    with pytest.raises(OtherUpstream):
        async with AsyncGateway(elsewhere) as gateway:
            gateway.as_httpx_client()
    with pytest.raises(OtherUpstream), Gateway(elsewhere) as blocking:
        blocking.as_httpx_client()


@pytest.fixture
def devflow_settings(elsewhere: Settings, here: Settings) -> Settings:
    """As a user's tests may override it: the stand-in over a folder of real calls."""

    async def note() -> None:
        async with make_store(here) as store:
            await store.origin.accept(elsewhere.upstream)

    asyncio.run(note())
    return here


def test_the_fixture_for_users_tests_refuses(request: pytest.FixtureRequest) -> None:
    with pytest.raises(OtherUpstream, match="devflow sandbox"):
        request.getfixturevalue("devflow_gateway")
