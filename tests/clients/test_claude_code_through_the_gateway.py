"""Real Claude Code works on a task through the gateway, led by a script at the stand-in."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from clients.over_the_stand_in import open_gateway_over, point_at
from clients.pinned import NEWEST, VERSIONS
from devflow_sandbox import Sandbox
from devflow_server import RunningGateway
from devflow_store import Store

if TYPE_CHECKING:
    from conftest import ClaudeCode

FLAGS = ("--output-format", "json", "--dangerously-skip-permissions")
TELLS_ITS_AGENTS = (NEWEST, "2.1.197")
"""The older ones send no header that tells a sub-agent apart, and begin sessions beside the one."""
TASK = "Add a flag to report.py, with help of a subagent."


def turns(project: Path) -> list[dict[str, Any]]:
    """A file is written, a sub-agent is sent, and the end is told."""
    write = {"file_path": str(project / "report.py"), "content": "FLAG = True\n"}
    agent = {
        "description": "look around",
        "prompt": "SUBAGENT-ERRAND: is anything else to do?",
        "subagent_type": "general-purpose",
    }
    return [
        {
            "when": {"contains": TASK, "tool": "Write", "after_tool": False},
            "reply": {
                "text": "First the file.",
                "tool_calls": [{"name": "Write", "arguments": write}],
            },
        },
        *(
            {
                "when": {"after_tool": True, "tool": name},
                "reply": {"tool_calls": [{"name": name, "arguments": agent}]},
            }
            for name in ("Agent", "Task")  # the older clients' word
        ),
        {
            "when": {"contains": "SUBAGENT-ERRAND", "after_tool": False},
            "reply": {"text": "Nothing else is to do."},
        },
        {"when": {"after_tool": True}, "reply": {"text": "The flag is in."}},
        {"when": {"contains": "Which flag"}, "reply": {"text": "The flag FLAG."}},
        # the newest lets the sub-agent work beside it, and asks once more when that has ended
        {
            "when": {"contains": TASK, "tool": "Write"},
            "reply": {"text": "The flag is in."},
            "repeat": True,
        },
        {"when": {}, "reply": {"text": "<summary>A flag was added.</summary>"}, "repeat": True},
    ]


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[Sandbox]:
    script = {"turns": turns(tmp_path / "home" / "demo")}
    async with Sandbox(script=script) as started:
        yield started


@pytest.fixture
async def gateway(sandbox: Sandbox, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    nodes = {"main": {"model": "z-ai/glm-5"}, "subagent": {"model": "deepseek/deepseek-v3.2"}}
    async with open_gateway_over(sandbox, tmp_path / "data", nodes=nodes) as started:
        yield started


def said(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "claude_code",
    VERSIONS,
    indirect=True,
)
async def test_a_task_with_tools_a_subagent_resume_and_compaction(
    claude_code: "ClaudeCode", gateway: RunningGateway, sandbox: Sandbox, tmp_path: Path
) -> None:
    point_at(claude_code, gateway)

    async def run(*arguments: str) -> dict[str, Any]:
        return said(await asyncio.to_thread(claude_code.run, "-p", *arguments, *FLAGS))

    first = await run(TASK)
    assert first["result"] == "The flag is in."
    assert (claude_code.project / "report.py").read_text() == "FLAG = True\n"
    resumed = await run("Which flag was it?", "--resume", first["session_id"])
    assert resumed["result"] == "The flag FLAG."
    compacted = await run("/compact", "--resume", resumed["session_id"])
    sessions = {one["session_id"] for one in (first, resumed, compacted)}

    entries = list(Store(tmp_path / "data" / "ledger.db").entries())
    assert {entry.outcome for entry in entries} == {"succeeded"}
    assert {entry.attribution.session_id for entry in entries} >= sessions
    if claude_code.version in TELLS_ITS_AGENTS:
        assert {entry.attribution.session_id for entry in entries} == sessions
        models = {entry.attribution.node: entry.model for entry in entries}
        assert models == {"main": "z-ai/glm-5", "subagent": "deepseek/deepseek-v3.2"}
        agents = {entry.attribution.agent for entry in entries}
        assert len(agents) == 2
        assert "main" in agents
    billed = {call["generation_id"]: call["cost_usd"] for call in sandbox.bill()["calls"]}
    assert len(billed) == len(entries)
    for entry in entries:
        assert entry.final_attempt is not None
        assert str(entry.final_attempt.cost_text) == str(billed[entry.final_attempt.generation_id])


PRICED, UNPRICED = "claude-haiku-4-5", "z-ai/glm-5"
"""A model whose price every version has in its own table, and one that it prices as another."""


@pytest.mark.parametrize("claude_code", VERSIONS, indirect=True)
async def test_the_cost_that_it_shows_is_the_bills_where_it_knows_the_price(
    claude_code: "ClaudeCode", tmp_path: Path
) -> None:
    async with Sandbox() as sandbox, open_gateway_over(sandbox, tmp_path / "data") as gateway:
        point_at(claude_code, gateway)
        shown: dict[str, float] = {}
        for model in (PRICED, UNPRICED):
            arguments = ("-p", "say hi", "--model", model, *FLAGS)
            done = said(await asyncio.to_thread(claude_code.run, *arguments))
            assert done["modelUsage"].keys() == {model}
            shown[model] = done["total_cost_usd"]
        calls = sandbox.bill()["calls"]
    billed = [float(call["cost_usd"]) for call in calls]
    entries = list(Store(tmp_path / "data" / "ledger.db").entries())
    assert sorted(float(entry.cost_usd) for entry in entries) == sorted(billed)
    priced = [usd for usd in billed if usd == pytest.approx(shown[PRICED])]
    (unpriced,) = [float(one["cost_usd"]) for one in calls if one["model"] == UNPRICED]
    assert len(priced) == 1
    assert shown[UNPRICED] > 3 * unpriced
    # 2.0.77 asks three things beside the first prompt of each start, and leaves them out
    assert len(billed) == (8 if claude_code.version == "2.0.77" else 2)
