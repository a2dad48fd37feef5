"""What real Claude Code prints of a failure behind the gateway, and how often it asks again."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from clients.over_the_stand_in import open_gateway_over, point_at
from clients.pinned import NEWEST
from devflow_sandbox import Sandbox
from devflow_server import RunningGateway

if TYPE_CHECKING:
    from conftest import ClaudeCode

VERSIONS = (NEWEST, "2.1.50")
"""The two differ in what they print, and the newer one in what it repeats."""
SHOWN: dict[str, tuple[dict[str, Any], int, tuple[str, ...]]] = {
    "a body that is too large": ({"status": 413}, 1, ("Request too large",)),
    "a prompt that is too long": ({"preset": "context_too_long"}, 1, ("Prompt is too long",)),
    "moderation": (
        {"preset": "moderated"}, 1, ("API Error: 400", "Input was flagged by moderation."),
    ),
    "a spent account": (
        {"preset": "no_credits"}, 1, ("API Error: 402", "Insufficient credits.", "Its operator"),
    ),
    # the gateway asks three times; a client that asked again would be three more
    "overload": ({"status": 503}, 3, ("API Error: 503", "overloaded")),
    "overload in Anthropic's number": ({"status": 529}, 3, ("API Error: 503", "overloaded")),
}  # fmt: skip
"""Fault → the calls at the provider for one request of the client, and the words on its screen.

The fault is the main model's only: 2.1.50 asks a haiku model for a title beside it.
"""


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as started:
        yield started


@pytest.fixture
async def gateway(sandbox: Sandbox, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    async with open_gateway_over(sandbox, tmp_path / "data") as started:
        yield started


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", list(SHOWN))
@pytest.mark.parametrize("claude_code", VERSIONS, indirect=True)
async def test_it_is_shown_for_what_it_is_and_asked_once(
    claude_code: "ClaudeCode", sandbox: Sandbox, gateway: RunningGateway, kind: str
) -> None:
    then, calls, words = SHOWN[kind]
    when = {"method": "POST", "model": "anthropic/claude-opus-*"}
    sandbox.set_faults({"faults": [{"when": when, "then": {"kind": "status", **then}}]})
    point_at(claude_code, gateway)
    claude_code.environment["CLAUDE_CODE_MAX_RETRIES"] = "3"
    done: subprocess.CompletedProcess[str] = await asyncio.to_thread(
        claude_code.run, "-p", "Say hi", "--model", "claude-opus-5"
    )
    assert done.returncode == 1, done.stdout
    for one in words:
        assert one in done.stdout
    assert "authenticate" not in done.stdout
    asked = [one for one in sandbox.bill()["calls"] if "opus" in one["model"]]
    assert len(asked) == calls
