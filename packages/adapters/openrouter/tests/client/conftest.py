"""Fixtures of the client's tests."""

from collections.abc import AsyncIterator

import pytest
from devflow_openrouter.testing import GatewayHarness, ScriptedUpstream


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream().serve() as scripted:
        yield scripted


@pytest.fixture
async def harness(upstream: ScriptedUpstream) -> GatewayHarness:
    return GatewayHarness(upstream)
