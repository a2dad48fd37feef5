"""Runs a gateway of a test's own over a stand-in, for one Claude Code."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devflow_core.settings import Settings
from devflow_sandbox import Sandbox
from devflow_server import RunningGateway, run_gateway

if TYPE_CHECKING:
    from conftest import ClaudeCode

CLIENT_KEY = "devflow_of_this_test"


@asynccontextmanager
async def open_gateway_over(
    sandbox: Sandbox, data_dir: Path, **settings: Any
) -> AsyncGenerator[RunningGateway]:
    """A gateway whose upstream is the stand-in, and whose client key is `CLIENT_KEY`."""
    given = Settings.load(
        {},
        None,
        base_url=sandbox.base_url,
        api_key=sandbox.api_key,
        port=0,
        data_dir=data_dir,
        **settings,
    )
    async with run_gateway(given, local_key=CLIENT_KEY) as started:
        yield started


def point_at(client: "ClaudeCode", gateway: RunningGateway) -> None:
    """Have a client ask this gateway, with its key."""
    client.environment |= {"ANTHROPIC_BASE_URL": gateway.url, "ANTHROPIC_AUTH_TOKEN": CLIENT_KEY}
