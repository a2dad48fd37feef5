"""A session that was written back is resumed by real Claude Code, which sends its whole history."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from clients.pinned import NEWEST
from devflow_claude_code import ClaudeCodeSession
from devflow_claude_code.handoff.writeback import AssistantReply, WrittenSession, write_back
from devflow_claude_code.reading.paths import project_slug
from devflow_core.messages import Message, Text, ToolCall, ToolResult

if TYPE_CHECKING:
    from conftest import ClaudeCode, ScriptedApi

SAMPLES = Path(__file__).parents[2] / "packages/adapters/claude_code/tests/samples"
RECORDED: dict[str, Any] = json.loads((SAMPLES / "expected_branches.json").read_text())
READERS = {"1.0.128": "2.1.197", "2.0.77": "2.0.77", "2.1.329": NEWEST}
"""Which client resumes the sessions of which recorder."""

REPLY = (
    Message(
        role="assistant",
        parts=(
            Text(text="I look first."),
            ToolCall(id="call_devflow_1", name="Bash", arguments='{"command":"ls"}'),
        ),
    ),
    Message(
        role="user",
        parts=(ToolResult(call_id="call_devflow_1", parts=(Text(text="README.md"),)),),
    ),
    Message(role="assistant", parts=(Text(text="The answer of another model."),)),
)


def written_back(
    recorded: Path, claude_code: "ClaudeCode"
) -> tuple[ClaudeCodeSession, WrittenSession]:
    """The recording as if it had happened in this home, handed off and written back."""
    folder = claude_code.config_dir / "projects" / project_slug(claude_code.project)
    folder.mkdir(parents=True)
    moved = recorded.read_bytes().replace(b"/home/dev/demo", str(claude_code.project).encode())
    (folder / recorded.name).write_bytes(moved)
    session = ClaudeCodeSession.open(folder / recorded.name)
    reply = AssistantReply(prompt="What is left?", messages=REPLY, model="z-ai/glm-5")
    return session, write_back(session, reply, config_dir=claude_code.config_dir)


def pieces(messages: list[dict[str, Any]]) -> list[str]:
    """Texts and ids of calls and results, in order."""
    found: list[str] = []
    for message in messages:
        content = message["content"]
        for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            match block["type"]:
                case "text":
                    found.append(block["text"].strip())
                case "tool_use":
                    found.append(f"call {block['id']}")
                case "tool_result":
                    found.append(f"result {block['tool_use_id']}")
                case _:
                    pass
    return found


def missing(expected: list[str], found: list[str]) -> list[str]:
    """What is not there; a client may join texts and put more around them."""
    return [
        one
        for one in expected
        if not any(
            one == other or (not one.startswith(("call", "result")) and one in other)
            for other in found
        )
    ]


@pytest.mark.parametrize(
    ("name", "claude_code"),
    [(name, READERS[name.split("/")[0]]) for name in RECORDED],
    ids=["-".join(name.split("/"))[:40] for name in RECORDED],
    indirect=["claude_code"],
)
def test_the_whole_history_is_sent(
    name: str, claude_code: "ClaudeCode", api: "ScriptedApi"
) -> None:
    session, written = written_back(SAMPLES / "transcripts" / name, claude_code)
    ended = claude_code.run("-p", "And now?", "--resume", written.session_id)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "Scripted answer." in ended.stdout
    asked = [one for one in api.requests if "And now?" in json.dumps(one["messages"][-3:])]
    sent = pieces(asked[-1]["messages"])
    rows = [session.transcript.load(row)["message"] for row in session.conversation]
    unanswered = {f"call {call}" for row in session.conversation for call, _ in row.tool_calls} - {
        f"call {call}" for row in session.conversation for call, _ in row.tool_results
    }
    wanted = [one for one in pieces(rows) if one and one not in unanswered]
    wanted += [
        "What is left?",
        "I look first.",
        "call call_devflow_1",
        "result call_devflow_1",
        "The answer of another model.",
    ]
    assert missing(wanted, sent) == []
