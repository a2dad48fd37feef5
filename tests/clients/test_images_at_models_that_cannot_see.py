"""Real Claude Code goes on with a session that holds an image, at a model that takes text alone."""

import asyncio
import base64
import json
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

BLIND, SEEING = "z-ai/glm-5", "anthropic/claude-haiku-4.5"
NOTE = "[image left out: image/png]"
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)
FLAGS = ("--output-format", "json", "--dangerously-skip-permissions")


def turns(picture: Path) -> list[dict[str, Any]]:
    """Each model reads the picture when it is asked to look, and says what came of it."""
    read = {"name": "Read", "arguments": {"file_path": str(picture)}}
    return [
        {
            "when": {"model": SEEING, "contains": "LOOK-AT-IT", "after_tool": False},
            "reply": {"tool_calls": [read]},
        },
        {"when": {"model": SEEING, "after_tool": True}, "reply": {"text": "A pixel."}},
        {
            "when": {"model": BLIND, "contains": "LOOK-AGAIN", "after_tool": False},
            "reply": {"tool_calls": [read]},
        },
        {
            "when": {"model": BLIND, "contains": NOTE, "after_tool": True},
            "reply": {"text": "I cannot see it either."},
        },
        {
            "when": {"model": BLIND, "contains": NOTE},
            "reply": {"text": "I cannot see it."},
        },
        {"when": {}, "reply": {"text": "Something else."}, "repeat": True},
    ]


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[RunningGateway]:
    script = {"turns": turns(tmp_path / "home" / "demo" / "pixel.png")}
    async with (
        Sandbox(script=script) as sandbox,
        open_gateway_over(sandbox, tmp_path / "data") as started,
    ):
        yield started


@pytest.mark.parametrize("claude_code", [NEWEST, "2.0.77"], indirect=True)
async def test_a_session_with_an_image_goes_on_at_a_model_for_text(
    claude_code: "ClaudeCode", gateway: RunningGateway
) -> None:
    point_at(claude_code, gateway)
    (claude_code.project / "pixel.png").write_bytes(PIXEL)

    async def run(prompt: str, model: str, *arguments: str) -> dict[str, Any]:
        done = await asyncio.to_thread(
            claude_code.run, "-p", prompt, "--model", model, *arguments, *FLAGS
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return json.loads(done.stdout.strip().splitlines()[-1])

    first = await run("LOOK-AT-IT and say what it is.", SEEING)
    assert first["result"] == "A pixel."
    way = ("--resume", first["session_id"])
    assert (await run("What now?", BLIND, *way))["result"] == "I cannot see it."
    again = await run("LOOK-AGAIN, please.", BLIND, *way)
    assert again["result"] == "I cannot see it either."
