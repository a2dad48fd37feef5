"""Fixtures of the service object's tests: a scripted upstream, and settings of nobody."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from devflow_core.memory import MemoryBook
from devflow_openrouter.service import OpenRouterService
from devflow_openrouter.testing import CANARY, ScriptedUpstream

MODEL = "anthropic/claude-haiku-4.5"
MakeService = Callable[..., OpenRouterService]


@pytest.fixture(autouse=True)
def _nobodys_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DEVFLOW_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("DEVFLOW_CLAUDE_DIR", str(tmp_path / "claude"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream().serve() as scripted:
        yield scripted


@pytest.fixture
async def make_service(upstream: ScriptedUpstream) -> AsyncIterator[MakeService]:
    """Makes services that book in memory, do not wait between attempts, and close at the end."""
    made: list[OpenRouterService] = []

    def make(model_name: str = MODEL, **options: Any) -> OpenRouterService:
        options = {"base_url": upstream.base_url, "backoff_factor": 0.0, **options}
        service = OpenRouterService(CANARY, model_name, **options)
        service.options.ledger = MemoryBook()
        made.append(service)
        return service

    yield make
    for service in made:
        await service.aclose()
