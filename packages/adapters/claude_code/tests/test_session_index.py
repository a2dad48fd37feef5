"""The index of sessions says what reading them all says, and opens only what changed."""

import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from devflow_claude_code import (
    ClaudeCodeSession,
    SessionDigest,
    SessionIndex,
    count_once,
    list_sessions,
    with_index,
)
from devflow_claude_code.session_digest import decode_rows, encode_rows
from devflow_claude_code.session_index import INDEX_FILE
from devflow_core.errors import ConfigurationError

_opened: list[str] | None = None


def _note_open(event: str, arguments: tuple[Any, ...]) -> None:
    if _opened is not None and event == "open" and str(arguments[0]).endswith(".jsonl"):
        _opened.append(Path(str(arguments[0])).name)


sys.addaudithook(_note_open)


@pytest.fixture
def opened() -> Iterator[Callable[[], list[str]]]:
    """The transcripts that were opened since the last call."""
    global _opened  # noqa: PLW0603 - an audit hook can be neither given an object nor removed
    _opened = []

    def take() -> list[str]:
        assert _opened is not None
        found = sorted(set(_opened))
        _opened.clear()
        return found

    yield take
    _opened = None


SOME = ("2.1.329/subagent", "2.1.329/crashed-then-resumed", "2.0.77/subagent", "1.0.128/coding")


@pytest.fixture
def claude_dir(tmp_path: Path, samples: Path) -> Path:
    """A few recorded sessions, each scenario in a project of its own."""
    for name in SOME:
        copy_project(samples / "transcripts" / name, tmp_path / "claude")
    return tmp_path / "claude"


def copy_project(folder: Path, claude_dir: Path) -> None:
    shutil.copytree(folder, claude_dir / "projects" / f"{folder.parent.name}-{folder.name}")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def everything(index: SessionIndex) -> list[SessionDigest]:
    index.refresh()
    return index.recent(None)


def test_the_index_counts_as_the_transcripts_do(samples: Path, tmp_path: Path) -> None:
    for folder in samples.glob("transcripts/*/*/"):
        copy_project(folder, tmp_path / "claude")
    assert assert_same_counts(tmp_path / "claude", tmp_path / "data") > 70


def test_the_index_counts_rare_sessions_as_they_are(samples: Path, tmp_path: Path) -> None:
    # they share their ids, so each stands alone
    for folder in samples.glob("faulty/*/"):
        copy_project(folder, tmp_path / folder.name)
        assert_same_counts(tmp_path / folder.name, tmp_path / "data")


def assert_same_counts(claude_dir: Path, data: Path) -> int:
    whole = count_once(list_sessions(config_dir=claude_dir))
    digests = with_index(data, claude_dir, everything)
    kept = {one.session.path: one for one in count_once(digests)}
    assert {one.session.path for one in whole} == set(kept)
    for one in whole:
        other = kept[one.session.path]
        assert sorted(map(repr, other.own.responses)) == sorted(map(repr, one.own.responses))
        assert len(other.copied.responses) == len(one.copied.responses)
        assert other.copied_from == one.copied_from
        for name in ("session_id", "project", "title", "client_version", "started_at", "last_at"):
            assert getattr(other.session, name) == getattr(one.session, name)
        assert other.session.messages == len(one.session.conversation)
    times = [digest.last_at or "" for digest in digests]
    assert times == sorted(times, reverse=True)
    return len(whole)


def test_a_few_sessions_and_their_relatives_are_enough(
    claude_dir: Path, data: Path, samples: Path
) -> None:
    copy_project(samples / "faulty" / "fork_two_files", claude_dir)

    def use(index: SessionIndex) -> None:
        counted = {one.session.path: one for one in count_once(everything(index))}
        for digest in everything(index):
            alone = count_once([digest, *index.related([digest])])[0]
            assert alone.own == counted[digest.path].own
        assert sum(len(one.copied.responses) for one in counted.values()) > 0

    with_index(data, claude_dir, use)


def test_a_second_run_opens_only_what_changed(
    claude_dir: Path, data: Path, opened: Callable[[], list[str]]
) -> None:
    first = with_index(data, claude_dir, everything)
    assert len(opened()) > len(first)  # the files of sub-agents as well
    assert with_index(data, claude_dir, everything) == first
    assert opened() == []
    (changed,) = claude_dir.glob("projects/1.0.128-coding/*.jsonl")
    (removed,) = claude_dir.glob("projects/2.1.329-subagent/*.jsonl")
    with changed.open("a") as file:
        file.write("\n")
    removed.unlink()
    shutil.rmtree(removed.with_suffix(""))
    second = with_index(data, claude_dir, everything)
    assert opened() == [changed.name]
    assert {one.path for one in first} - {one.path for one in second} == {removed}


def test_a_file_replaced_by_one_of_equal_size_and_time_is_read(
    claude_dir: Path, data: Path, opened: Callable[[], list[str]]
) -> None:
    with_index(data, claude_dir, everything)
    (path,) = claude_dir.glob("projects/1.0.128-coding/*.jsonl")
    status = path.stat()
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)
    opened()
    with_index(data, claude_dir, everything)
    assert opened() == [path.name]


def test_what_a_sub_agent_adds_is_read(claude_dir: Path, data: Path) -> None:
    (agent,) = claude_dir.glob("projects/2.1.329-subagent/*/subagents/agent-*.jsonl")
    with_index(data, claude_dir, everything)
    lines = agent.read_text().splitlines()
    (reply, *_) = [row for line in lines if "usage" in (row := json.loads(line)).get("message", {})]
    reply["uuid"], reply["requestId"], reply["message"]["id"] = "new", "req_new", "msg_new"
    with agent.open("a") as file:
        file.write(json.dumps(reply) + "\n")

    def use(index: SessionIndex) -> bool:
        (found,) = [one for one in everything(index) if one.session_id in str(agent)]
        return "msg_new" in {row.message_id for row in found.rows}

    assert with_index(data, claude_dir, use)


def empty(content: bytes) -> bytes:
    return content[:0]


def replace_all(_content: bytes) -> bytes:
    return b"no database at all"


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def zero(content: bytes) -> bytes:
    return content[:8192] + bytes(12_000) + content[20_192:]


def flip(content: bytes) -> bytes:
    """Change a digit within the rows of a session, which SQLite cannot notice."""
    at = content.index(b'["assistant"')
    at = next(one for one in range(at, len(content)) if content[one : one + 1] in b"12345678")
    return content[:at] + bytes([content[at] + 1]) + content[at + 1 :]


@pytest.mark.parametrize("damage", [empty, replace_all, cut, zero, flip])
def test_a_damaged_index_is_made_anew(
    claude_dir: Path, data: Path, damage: Callable[[bytes], bytes]
) -> None:
    first = with_index(data, claude_dir, everything)
    file = data / INDEX_FILE
    file.write_bytes(damage(file.read_bytes()))
    assert with_index(data, claude_dir, everything) == first


def test_an_index_of_another_version_is_made_anew(claude_dir: Path, data: Path) -> None:
    first = with_index(data, claude_dir, everything)
    with closing(sqlite3.connect(data / INDEX_FILE)) as database:
        database.execute("UPDATE made_by SET version = '0 other'")
        database.execute("UPDATE sessions SET rows = '[]'")
        database.commit()
    assert with_index(data, claude_dir, everything) == first


def test_the_index_is_private(claude_dir: Path, data: Path) -> None:
    with_index(data, claude_dir, everything)
    assert (data / INDEX_FILE).stat().st_mode & 0o777 == 0o600
    (data / INDEX_FILE).unlink()
    (data / INDEX_FILE).symlink_to(data / "elsewhere")
    with pytest.raises(ConfigurationError, match="link"):
        with_index(data, claude_dir, everything)


def test_no_text_of_a_conversation_is_kept_but_the_title(tmp_path: Path, data: Path) -> None:
    folder = tmp_path / "claude" / "projects" / "-p"
    folder.mkdir(parents=True)
    rows = [
        {"type": "user", "uuid": "q", "message": {"role": "user", "content": "TITLE\nSECRET-1"}},
        {
            "type": "assistant",
            "uuid": "a",
            "parentUuid": "q",
            "message": {
                "id": "m",
                "model": "claude-opus-5-5",
                "content": [{"type": "text", "text": "SECRET-2"}],
                "usage": {"input_tokens": 1, "output_tokens": 2},
            },
        },
    ]
    common = {"sessionId": "s", "version": "2.1.329", "timestamp": "2026-11-21T01:00:00.000Z"}
    (folder / "11111111-2222-4333-8444-555555555555.jsonl").write_text(
        "".join(json.dumps({**row, **common}) + "\n" for row in rows)
    )
    (found,) = with_index(data, tmp_path / "claude", everything)
    content = (data / INDEX_FILE).read_bytes()
    assert found.title == "TITLE"
    assert b"TITLE" in content
    assert b"SECRET" not in content


def test_a_held_index_is_gone_around(
    claude_dir: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devflow_claude_code.session_index.BUSY_TIMEOUT_S", 0.0)
    first = with_index(data, claude_dir, everything)
    before = (data / INDEX_FILE).stat()
    with closing(sqlite3.connect(data / INDEX_FILE)) as database:
        database.execute("BEGIN EXCLUSIVE")
        assert with_index(data, claude_dir, everything) == first
    after = (data / INDEX_FILE).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_session_whose_own_file_is_gone_still_costs_what_its_agents_did(
    claude_dir: Path, data: Path
) -> None:
    (path,) = claude_dir.glob("projects/2.1.329-subagent/*.jsonl")
    session = ClaudeCodeSession.open(path)
    spent = {row.message_id for agent in session.agents for row in agent.rows if row.tokens}
    path.unlink()

    def use(index: SessionIndex) -> tuple[int, list[SessionDigest]]:
        listed = everything(index)
        return sum(one.path == path for one in listed), index.since()

    listed, known = with_index(data, claude_dir, use)
    (left,) = [one for one in known if one.path == path]
    assert listed == 0
    assert {row.message_id for row in left.rows if row.tokens} == spent
    assert left.project == session.project


def test_rows_come_back_as_they_were(claude_dir: Path, data: Path) -> None:
    for digest in with_index(data, claude_dir, everything):
        assert decode_rows(encode_rows(digest.rows)) == digest.rows
