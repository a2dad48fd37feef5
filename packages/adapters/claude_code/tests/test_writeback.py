import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from devflow_claude_code import AssistantReply, ClaudeCodeSession, WrittenSession, write_back
from devflow_claude_code.reading.paths import project_slug
from devflow_core.errors import SessionError
from devflow_core.messages import Media, Message, Reasoning, Text, ToolCall, ToolResult
from devflow_core.usage import Usage

Write = Callable[[Iterable[object]], Path]
ANSWER = AssistantReply(
    prompt="Finish it.",
    messages=(Message(role="assistant", parts=(Text(text="Finished."),)),),
    model="z-ai/glm-5",
    usage=Usage(input_tokens=5, cache_write_tokens=7, cache_write_1h_tokens=3, output_tokens=2),
)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config"


def lines(path: Path) -> list[dict[str, Any]]:
    assert path.read_bytes().endswith(b"\n")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def written(path: Path, config: Path, reply: AssistantReply = ANSWER) -> WrittenSession:
    return write_back(ClaudeCodeSession.open(path), reply, config_dir=config)


def test_the_new_session_keeps_the_rules_that_clients_ask_for(recorded: Path, config: Path) -> None:
    before = recorded.read_bytes()
    back = written(recorded, config)
    rows = [row for row in lines(back.path) if "uuid" in row]
    parents = [row["parentUuid"] for row in rows]
    assert parents == [None, *[row["uuid"] for row in rows[:-1]]]
    stamps = [row["timestamp"] for row in rows]
    assert stamps == sorted(set(stamps))
    assert {row["sessionId"] for row in lines(back.path)} == {back.session_id} == {back.path.stem}
    assert not any(row["isSidechain"] or row.get("isApiErrorMessage") for row in rows)
    assert rows[-1]["type"] == "assistant"
    for row in rows[-2:]:
        assert {"cwd", "version", "gitBranch", "userType"} <= set(row)
        assert None not in (row["cwd"], row["version"])
    assert recorded.read_bytes() == before


def test_the_new_session_reads_as_the_old_one_with_the_reply(recorded: Path, config: Path) -> None:
    old = ClaudeCodeSession.open(recorded)
    new = ClaudeCodeSession.open(written(recorded, config).path)
    assert [row.uuid for row in new.conversation[:-2]] == [row.uuid for row in old.conversation]
    contents = [new.transcript.load(row)["message"]["content"] for row in new.conversation[-2:]]
    assert contents == ["Finish it.", [{"type": "text", "text": "Finished."}]]
    assert new.title == f"{old.title or 'session'} (continued by z-ai/glm-5)"
    spend = new.spend.by_model()["z-ai/glm-5"]._asdict()
    assert spend == {
        "input": 5, "cache_read": 0, "cache_write_5m": 4, "cache_write_1h": 3, "output": 2,
    }  # fmt: skip


def test_it_can_be_handed_off_and_written_back_again(
    recording: Callable[[str], Path], config: Path
) -> None:
    first = written(recording("2.1.329/compacted"), config)
    again = written(first.path, config)
    assert again.path.parent == first.path.parent
    assert len(ClaudeCodeSession.open(again.path).conversation) == 13


def test_where_it_stands_and_how_it_is_resumed(
    recording: Callable[[str], Path], config: Path
) -> None:
    back = written(recording("2.1.329/coding"), config)
    assert back.path.parent == config / "projects" / "-home-dev-demo"
    assert back.path.stat().st_mode & 0o777 == 0o600
    assert back.command == f"claude --resume {back.session_id}"
    assert back.shell_command == f"cd /home/dev/demo && claude --resume {back.session_id}"
    assert back.as_json() == {
        "session_id": back.session_id,
        "path": str(back.path),
        "command": back.command,
        "cwd": "/home/dev/demo",
    }
    beside = back.path.with_name("b0b4c439-0397-43ca-ab6e-d4217f8a9811.jsonl")
    beside.write_bytes(recording("2.1.329/coding").read_bytes())
    assert written(beside, config).path.parent == beside.parent
    assert len(list(beside.parent.iterdir())) == 3


def test_the_other_models_reply_becomes_content_blocks(
    recording: Callable[[str], Path], config: Path
) -> None:
    messages = (
        Message(
            role="assistant",
            parts=(
                Reasoning(text="hm"),
                Text(text="I look."),
                ToolCall(id="c1", name="Bash", arguments='{"command":"ls"}'),
                ToolCall(id="c2", name="Odd", arguments="[broken"),
            ),
        ),
        Message(role="system", parts=(Text(text="never"),)),
        Message(
            role="user",
            parts=(
                ToolResult(call_id="c1", parts=(Text(text="a.py"),)),
                ToolResult(
                    call_id="c2",
                    parts=(
                        Media(kind="image", media_type="image/png", base64="AAAA"),
                        Media(kind="file", url="http://x/y.pdf"),
                    ),
                    is_error=True,
                ),
            ),
        ),
        Message(
            role="assistant",
            parts=(Text(text="Next:"), ToolCall(id="c3", name="Edit", arguments='{"a":1}')),
        ),
    )
    back = written(recording("2.1.329/coding"), config, replace(ANSWER, messages=messages))
    call, results, last = (row["message"] for row in lines(back.path)[-4:-1])
    assert call["stop_reason"] == "tool_use"
    assert call["content"] == [
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "c1", "name": "Bash", "input": {"command": "ls"}},
        {"type": "tool_use", "id": "c2", "name": "Odd", "input": {"arguments": "[broken"}},
    ]
    assert results["content"][1]["is_error"] is True
    assert [one["type"] for one in results["content"][1]["content"]] == ["image", "text"]
    assert last["stop_reason"] == "end_turn"
    assert last["content"][1]["text"] == ('[wanted to call Edit with {"a":1}; it was not executed]')


@pytest.mark.parametrize(
    "messages",
    [
        (),
        (Message(role="assistant", parts=(Reasoning(text="hm"), Text(text=" "))),),
        (Message(role="user", parts=(Text(text="?"),)),),
    ],
)
def test_an_empty_reply_leaves_nothing_behind(
    messages: tuple[Message, ...], recording: Callable[[str], Path], config: Path
) -> None:
    with pytest.raises(SessionError, match="empty"):
        written(recording("2.1.329/coding"), config, replace(ANSWER, messages=messages))
    assert not config.exists()


def test_an_impossible_write_back_is_refused_before_writing(
    script: Any, write: Write, config: Path
) -> None:
    with pytest.raises(SessionError, match="no conversation"):
        written(write([{"type": "summary", "summary": "s", "leafUuid": "x"}]), config)
    with pytest.raises(SessionError, match="names no folder"):
        written(write([script.prompt("go", cwd=None)]), config)
    assert not config.exists()


def test_a_folder_that_leads_out_is_not_written_to(
    recording: Callable[[str], Path], config: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (config / "projects").mkdir(parents=True)
    (config / "projects" / project_slug(Path("/home/dev/demo"))).symlink_to(outside)
    with pytest.raises(SessionError, match="leads out"):
        written(recording("2.1.329/coding"), config)
    assert list(outside.iterdir()) == []


def test_a_file_in_the_way_of_the_folder_is_named(
    recording: Callable[[str], Path], config: Path
) -> None:
    config.write_text("")
    with pytest.raises(SessionError, match="cannot be written"):
        written(recording("2.1.329/coding"), config)


def test_a_clock_that_is_behind_does_not_put_the_reply_before_the_history(
    recording: Callable[[str], Path], config: Path
) -> None:
    session = ClaudeCodeSession.open(recording("2.1.329/coding"))
    back = write_back(
        session, ANSWER, config_dir=config, now=lambda: datetime(2001, 1, 1, tzinfo=UTC)
    )
    assert lines(back.path)[-2]["timestamp"] > (session.last_at or "")
