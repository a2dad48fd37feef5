from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from devflow_claude_code import ClaudeCodeSession
from devflow_claude_code.reading.content import text_of
from devflow_claude_code.testing import build_planted_session
from devflow_core.tokens import estimate_tokens
from hypothesis import given
from hypothesis import strategies as st

Write = Callable[[Iterable[object]], Path]


def kinds(session: ClaudeCodeSession, kind: str, budget_tokens: int = 8_000) -> list[str]:
    return [piece.text for piece in session.context(budget_tokens).pieces if piece.kind == kind]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("turns", [30, 120])
def test_of_20_planted_facts_19_survive_at_a_quarter_of_the_size(
    write: Write, seed: int, turns: int
) -> None:
    script, facts = build_planted_session(seed, turns)
    context = ClaudeCodeSession.open(write(script.rows)).context(script.tokens // 4)
    text = "\n".join(piece.text for piece in context.pieces)
    assert sum(fact in text for fact in facts) >= 19
    assert context.tokens <= context.budget_tokens


def test_every_piece_of_every_recording_names_a_line_that_holds_it(recorded: Path) -> None:
    session = ClaudeCodeSession.open(recorded)
    context = session.context()
    rows = session.transcript.rows
    assert context.pieces or "cmd-" in str(recorded)  # where nobody has said anything
    for piece in context.pieces:
        assert piece.source_path == str(recorded)
        assert rows[piece.source_line - 1].type in ("user", "assistant", "attachment")
        if piece.kind in ("decision", "note"):
            assert text_of(session.transcript.load(rows[piece.source_line - 1])) == piece.text


@pytest.fixture(scope="module")
def compacted(transcripts: Path) -> ClaudeCodeSession:
    return ClaudeCodeSession.open(next((transcripts / "2.1.329" / "compacted").glob("*.jsonl")))


@given(budget=st.integers(0, 3_000))
def test_no_budget_is_overrun_and_the_goal_comes_first(
    compacted: ClaudeCodeSession, budget: int
) -> None:
    context = compacted.context(budget)
    assert context.tokens <= budget
    assert context.as_json()["tokens"] == context.tokens
    if budget >= 100:
        assert context.pieces[0].kind == "goal"


def test_the_same_state_gives_the_same_pieces(recorded: Path) -> None:
    first = ClaudeCodeSession.open(recorded).context(1_000)
    assert ClaudeCodeSession.open(recorded).context(1_000) == first


def test_a_command_that_passed_later_is_not_a_failure(script: Any, write: Write) -> None:
    script.prompt("Fix it")
    script.call("Bash", {"command": "make test"}, "1 failed", is_error=True)
    script.call("Bash", {"command": "make lint"}, "2 errors", is_error=True)
    script.call("Bash", {"command": "make test"}, "all passed")
    session = ClaudeCodeSession.open(write(script.rows))
    assert kinds(session, "failure") == ["$ make lint\nfailed:\n2 errors"]
    assert kinds(session, "command") == ["$ make test\nall passed"]


def test_a_file_is_shown_with_its_last_known_content(script: Any, write: Write) -> None:
    script.prompt("Edit")
    content = "a = 1\nb = 2\n"
    read = {"file": {"content": content, "startLine": 1, "numLines": 2, "totalLines": 2}}
    script.call("Read", {"file_path": "/x.py"}, content, toolUseResult=read)
    edit = {"file_path": "/x.py", "old_string": "a = 1", "new_string": "a = 3"}
    script.call("Edit", edit, "ok", toolUseResult={"originalFile": content})
    failed = {"file_path": "/x.py", "old_string": "zz", "new_string": "yy"}
    script.call("Edit", failed, "not found", is_error=True)
    script.call("Write", {"file_path": "/y.py", "content": "y"}, "ok")
    part = {"file": {"content": "middle", "startLine": 5, "numLines": 1, "totalLines": 9}}
    script.call("Read", {"file_path": "/z.py"}, "middle", toolUseResult=part)
    script.call("Edit", {**edit, "file_path": "/big.py"}, "ok")
    many = [{"old_string": "a", "new_string": "b", "replace_all": True}]
    script.call(
        "MultiEdit", {"file_path": "/m.py", "edits": many}, "ok",
        toolUseResult={"originalFile": "aa"},
    )  # fmt: skip
    script.call("NotebookEdit", {"notebook_path": "/n.ipynb", "new_source": "print()"}, "ok")
    script.call("Read", {}, "?")
    session = ClaudeCodeSession.open(write(script.rows))
    assert kinds(session, "file") == [
        "/x.py (changed)\na = 3\nb = 2",
        "/y.py (changed)\ny",
        "/z.py (read, seen in part)\nmiddle",
        "/big.py (changed, seen in part)\n… a = 3 …",
        "/m.py (changed)\nbb",
        "/n.ipynb (changed, seen in part)\n… print() …",
    ]


def test_a_whole_read_after_an_edit_wins(script: Any, write: Write) -> None:
    script.prompt("Edit")
    edit = {"file_path": "/x.py", "old_string": "1", "new_string": "3"}
    script.call("Edit", edit, "ok", toolUseResult={"originalFile": "1"})
    read = {"file": {"content": "4", "startLine": 1, "numLines": 1, "totalLines": 1}}
    script.call("Read", {"file_path": "/x.py"}, "4", toolUseResult=read)
    assert kinds(ClaudeCodeSession.open(write(script.rows)), "file") == ["/x.py (changed)\n4"]


def test_the_todo_list_is_replayed_from_every_kind_of_tool(script: Any, write: Write) -> None:
    script.prompt("Plan")
    script.call(
        "TaskCreate", {"subject": "One", "description": "how"}, "ok",
        toolUseResult={"task": {"id": "7", "subject": "One"}},
    )  # fmt: skip
    script.call("TaskCreate", {"subject": "Two"}, "ok")
    script.call("TaskUpdate", {"taskId": "7", "status": "in_progress"}, "ok")
    script.call("TaskUpdate", {"taskId": "99", "status": "completed"}, "ok")
    script.call("TaskUpdate", {"taskId": "2", "status": "completed"}, "no", is_error=True)
    session = ClaudeCodeSession.open(write(script.rows))
    assert kinds(session, "todo") == ["[>] One: how\n[ ] Two"]
    script.add(
        "attachment",
        attachment={"type": "task_reminder", "content": [{"subject": "Three", "status": "odd"}]},
    )
    write(script.rows)
    session.refresh()
    assert kinds(session, "todo") == ["[?] Three"]
    script.call("TodoWrite", {"todos": [{"content": "Four", "status": "completed"}]}, "ok")
    script.call("TodoWrite", {"todos": "broken"}, "ok")
    write(script.rows)
    session.refresh()
    assert kinds(session, "todo") == ["[x] Four"]


def test_an_unanswered_question_stays_open(script: Any, write: Write) -> None:
    script.prompt("Go")
    arguments = {"questions": [{"question": "Which?", "options": [{"label": "A"}, {"label": "B"}]}]}
    script.say({"type": "tool_use", "id": "q", "name": "AskUserQuestion", "input": arguments})
    script.say({"type": "tool_use", "id": "p", "name": "ExitPlanMode", "input": {"plan": "1. x"}})
    script.say({"type": "tool_use", "id": "b", "name": "Bash", "input": {"command": "sleep 9"}})
    script.say("Should I keep the old format?")
    questions = kinds(ClaudeCodeSession.open(write(script.rows)), "question")
    assert questions == [
        "Which? (A / B)",
        "Plan waiting for approval:\n1. x",
        "$ sleep 9\n(no result: it was interrupted)",
        "Should I keep the old format?",
    ]


def test_the_last_exchange_is_word_for_word(script: Any, write: Write) -> None:
    script.prompt("first")
    script.say("done")
    script.prompt("second   with\n\nspaces")
    script.say("ok: `x`\n\n- y")
    assert kinds(ClaudeCodeSession.open(write(script.rows)), "exchange") == [
        "User: second   with\n\nspaces",
        "Assistant: ok: `x`\n\n- y",
    ]


def test_a_prompt_queued_while_the_model_worked_counts(
    recording: Callable[[str], Path],
) -> None:
    session = ClaudeCodeSession.open(recording("2.1.329/queued"))
    assert "User: Now bump the version" in kinds(session, "exchange")


def test_text_written_by_the_client_is_not_a_goal(script: Any, write: Write) -> None:
    script.prompt("<command-name>/clear</command-name>")
    script.prompt("Caveat: The messages below were generated by the user")
    script.prompt("meta", isMeta=True)
    script.prompt("[Request interrupted by user]")
    script.prompt("The real goal")
    session = ClaudeCodeSession.open(write(script.rows))
    assert kinds(session, "goal") == ["The real goal"]


def test_a_sub_agents_report_weighs_more_than_a_listing(script: Any, write: Write) -> None:
    script.prompt("Look")
    script.call("Task", {"description": "find", "prompt": "where"}, [
        {"type": "text", "text": "It is in a.py"},
        {"type": "tool_reference", "tool_name": "Cron"},
        {"type": "image", "source": {"media_type": "image/png"}},
        "odd",
        {"type": "odd"},
    ])  # fmt: skip
    (text,) = kinds(ClaudeCodeSession.open(write(script.rows)), "command")
    assert text.startswith("Task: find: where\nIt is in a.py\n[tool Cron is available now]")


def test_long_pieces_keep_their_ends_and_say_what_is_missing(script: Any, write: Write) -> None:
    script.prompt("Look")
    script.call("Bash", {"command": "cat log"}, "start " + "x" * 50_000 + " end", is_error=True)
    context = ClaudeCodeSession.open(write(script.rows)).context(1_000)
    (piece,) = [one for one in context.pieces if one.kind == "failure"]
    assert "start" in piece.text
    assert piece.text.endswith("end")
    assert "characters left out" in piece.text
    assert context.shortened == 1


def test_secrets_are_masked_and_counted_also_at_a_cut(script: Any, write: Write) -> None:
    key = "sk-ant-api03-" + "Ab1" * 20
    script.prompt(f"use {key}")
    script.call("Bash", {"command": "env"}, "y" * 20_000 + " " + key, is_error=True)
    pem = "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIE" * 900 + "\n-----END RSA PRIVATE KEY-----"
    script.call("Bash", {"command": "cat id"}, pem, is_error=True)
    session = ClaudeCodeSession.open(write(script.rows))
    for budget in (200, 400, 900, 4_000):
        context = session.context(budget)
        text = "".join(piece.text for piece in context.pieces)
        assert "Ab1Ab1" not in text
        assert "MIIEMIIE" not in text
        assert any("API key masked" in line for line in context.masked)


def test_invisible_characters_are_escaped(script: Any, write: Write) -> None:
    script.prompt("a\u202eb\u200bc\x1b[2J \U000e0041 \U0001f469\u200d\U0001f4bb")
    (goal,) = kinds(ClaudeCodeSession.open(write(script.rows)), "goal")
    assert goal == ("a\\u202eb\\u200bc\\u001b[2J \\ue0041 \U0001f469\u200d\U0001f4bb")


def test_wide_scripts_fill_a_budget_without_overrunning_it(script: Any, write: Write) -> None:
    script.prompt("修复导入程序" * 100)
    for _ in range(50):
        script.say("决定使用新的缓存" * 60)
    context = ClaudeCodeSession.open(write(script.rows)).context(2_000)
    size = sum(estimate_tokens(piece.text) for piece in context.pieces)
    assert 1_400 < size <= context.tokens <= 2_000


def test_no_part_of_a_key_survives_among_many_masked_ones(script: Any, write: Write) -> None:
    key = "sk-ant-api03-" + "Ab1" * 40
    script.prompt("look")
    log = " ".join([key] * 200)
    script.call("Bash", {"command": "env"}, log, is_error=True)
    session = ClaudeCodeSession.open(write(script.rows))
    for budget in range(120, 3_000, 97):
        text = "".join(piece.text for piece in session.context(budget).pieces)
        assert "b1Ab" not in text
