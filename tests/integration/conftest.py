"""What several door tests share: a gateway over a stand-in of its own, both in this process."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from devflow_core.settings import Settings
from devflow_gateway import AsyncGateway
from devflow_sandbox import Sandbox


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as opened:
        yield opened


@pytest.fixture
async def gateway(sandbox: Sandbox, tmp_path: Path) -> AsyncIterator[AsyncGateway]:
    settings = Settings.load(
        {}, base_url=sandbox.base_url, api_key=sandbox.api_key, data_dir=tmp_path / "data"
    )
    async with AsyncGateway(settings) as opened:
        yield opened
