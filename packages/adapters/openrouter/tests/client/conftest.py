"""Fixtures of the client's tests."""

from collections.abc import AsyncIterator

import pytest
from devflow_openrouter.testing import Asker, ScriptedUpstream


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream().running() as scripted:
        yield scripted


@pytest.fixture
async def ask(upstream: ScriptedUpstream) -> Asker:
    return Asker(upstream)
