"""Damage to a transcript costs the records it destroyed, and nothing else."""

import json
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from devflow_claude_code import ClaudeCodeSession, hand_off
from devflow_claude_code.reading.salvage import find_records
from devflow_claude_code.reading.transcript import MAX_LINE_BYTES, Transcript
from devflow_core.messages import Text, ToolCall, ToolResult
from hypothesis import example, given
from hypothesis import strategies as st

Write = Callable[[Iterable[object]], Path]
RECORDINGS = ("2.1.329/coding", "2.1.329/two-agents", "2.0.77/coding", "1.0.128/two-agents")


@lru_cache
def recorded_lines(path: Path) -> tuple[tuple[bytes, ...], tuple[str, ...]]:
    """The lines of a recording, and its conversation."""
    return tuple(path.read_bytes().splitlines()), tuple(conversation_of(path))


def conversation_of(path: Path) -> list[str]:
    """The uuids of what was said and done, in order."""
    return [row.uuid or "" for row in ClaudeCodeSession.open(path).conversation]


def uuid_of(line: bytes) -> str:
    return json.loads(line).get("uuid") or ""


def is_chain_row(line: bytes) -> bool:
    """A row of the conversation's tree; what marks its end is another matter."""
    return bool(uuid_of(line))


class Damaged:
    """Lines of a recording, damaged one after the other; `lost` are the uuids destroyed."""

    def __init__(self, lines: list[bytes]) -> None:
        self.lines = lines
        self.lost: set[str] = set()

    def drop(self, index: int, _size: int) -> None:
        self.lost.add(uuid_of(self.lines[index]))
        self.lines[index] = b""

    def zero(self, index: int, _size: int) -> None:
        self.lost.add(uuid_of(self.lines[index]))
        self.lines[index] = bytes(len(self.lines[index]))

    def cut_end(self, index: int, size: int) -> None:
        line = self.lines[index]
        self.lost.add(uuid_of(line))
        self.lines[index] = line[: size % len(line)]

    def cut_start(self, index: int, size: int) -> None:
        line = self.lines[index]
        self.lost.add(uuid_of(line))
        self.lines[index] = line[1 + size % (len(line) - 1) :]

    def fill_before(self, index: int, size: int) -> None:
        self.lines[index] = bytes(size % 5000) + self.lines[index]

    def fill_after(self, index: int, size: int) -> None:
        self.lines[index] += bytes(size % 5000)

    def mark(self, index: int, _size: int) -> None:
        self.lines[index] = b"\xef\xbb\xbf" + self.lines[index]

    def litter(self, index: int, _size: int) -> None:
        self.lines[index] = self.lines[index] + b" }] garbage {"


KINDS = tuple(name for name in vars(Damaged) if not name.startswith("_"))


@given(
    name=st.sampled_from(RECORDINGS),
    hits=st.lists(
        st.tuples(st.sampled_from(KINDS), st.integers(0), st.integers(0, 10_000)), max_size=4
    ),
    glued=st.sets(st.integers(0, 60), max_size=4),
)
@example(name="2.1.329/two-agents", hits=[("drop", 9, 0)], glued=set())
def test_only_what_was_destroyed_is_lost(
    transcripts: Path,
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    hits: list[tuple[str, int, int]],
    glued: set[int],
) -> None:
    source = min((transcripts / name).glob("*-*-*-*-*.jsonl"))
    lines, conversation = recorded_lines(source)
    chain = [index for index, line in enumerate(lines) if is_chain_row(line)]
    targets = {chain[index % len(chain)]: (kind, size) for kind, index, size in hits}
    damaged = Damaged([*lines])
    for index, (kind, size) in targets.items():
        getattr(damaged, kind)(index, size)
    path = tmp_path_factory.mktemp("damaged") / source.name
    ends = [b"" if index in glued else b"\n" for index in range(len(lines))]
    path.write_bytes(b"".join(a + b for a, b in zip(damaged.lines, ends, strict=True)))
    expected = {one for one in conversation if one not in damaged.lost}
    assert expected - set(conversation_of(path)) == set()
    transcript = Transcript(path)
    transcript.refresh()
    data = path.read_bytes()
    rows = [data[row.offset : row.offset + row.length] for row in transcript.rows]
    assert b"".join(rows) == data


@given(st.binary(max_size=300))
def test_any_bytes_around_two_records_leave_them_whole(filling: bytes) -> None:
    first = b'{"type":"user","uuid":"a","parentUuid":null,"sessionId":"s"}'
    second = b'{"type":"user","uuid":"b","parentUuid":"a","sessionId":"s"}'
    filling = filling.replace(b"{", b"(").replace(b'"', b"'")
    found = find_records(first + filling + second + filling)
    assert [record.body["uuid"] for record in found] == ["a", "b"]


def test_fragments_of_a_cut_record_are_not_records() -> None:
    inner = {"type": "text", "text": 'quoted {"type":"user","uuid":"x","parentUuid":null}'}
    row = {"parentUuid": None, "type": "user", "uuid": "a", "message": {"content": [inner]}}
    line = json.dumps(row).encode()
    for end in range(len(line)):
        assert find_records(line[:end]) == []
    for start in range(1, len(line)):
        assert {record.body.get("uuid") for record in find_records(line[start:])} <= {None}


def test_unclosed_braces_do_not_make_salvage_slow() -> None:
    assert find_records(b'{"a":' * 300_000) == []
    assert find_records(b'{"' * 300_000) == []


def test_an_overlong_line_is_skipped_and_reported(script: Any, write: Write) -> None:
    script.prompt("one")
    script.say("two")
    path = write(script.rows)
    first, second = path.read_bytes().splitlines(keepends=True)
    with path.open("wb") as file:
        file.write(first)
        for _ in range(MAX_LINE_BYTES // (1 << 20) + 1):
            file.write(b"x" * (1 << 20))
        file.write(b"\n" + second)
    session = ClaudeCodeSession.open(path)
    assert len(session.conversation) == 2
    assert session.damage.as_json() == {"overlong_lines": {"count": 1, "lines": [2]}}
    report = hand_off(session).report
    assert "line 2: longer than any request can be" in report.describe()
    assert not session.refresh()


def test_the_report_names_lost_salvaged_and_bridged_lines(script: Any, write: Write) -> None:
    for number in range(6):
        script.prompt(f"question {number}")
    path = write(script.rows)
    lines = path.read_bytes().splitlines()
    lines[1] = bytes(80)
    lines[3] = lines[3].replace(b"question", b"quest\xffion")
    path.write_bytes(b"\n".join([*lines[:4], lines[4] + lines[5]]))
    session = ClaudeCodeSession.open(path)
    expected = {
        "unreadable_lines": {"count": 1, "lines": [2]},
        "salvaged_lines": {"count": 2, "lines": [4, 5]},
        "bridged_lines": {"count": 1, "lines": [3]},
    }
    assert session.detail_json(lambda _: None)["damage"] == expected
    assert session.context().as_json()["notes"] == list(session.damage.notes())
    for mode in ("full", "brief"):
        report = hand_off(session, mode=mode).report
        assert report.as_json()["damage"] == expected
        for words in ("line 2: could not be read", "2 lines (4, 5)", "line 3: parent row missing"):
            assert words in report.describe()
    assert ClaudeCodeSession.open(write(script.rows)).damage.notes() == ()


def tool_call(call_id: str) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": "Bash", "input": {}}


def said(session: ClaudeCodeSession) -> list[str]:
    """Texts, calls and results of a hand-off, in order."""
    found: list[str] = []
    for message in hand_off(session, "?").request.messages[1:]:
        for part in message.parts:
            match part:
                case Text():
                    found.append(part.text)
                case ToolCall():
                    found.append(f"call {part.id}")
                case ToolResult():
                    found.append(f"result {part.call_id}")
                case _:
                    pass
    return found[:-2]  # the place and the prompt


def test_a_gateway_that_gives_every_reply_one_id_does_not_mix_up_the_order(
    script: Any, write: Write
) -> None:
    for number in range(2):
        script.prompt(f"question {number}")
        script.say(tool_call("call_0"), id="msg")
        result = {"type": "tool_result", "tool_use_id": "call_0", "content": f"out {number}"}
        script.add("user", message={"role": "user", "content": [result]})
        script.say(f"answer {number}", id="msg")
    heard = said(ClaudeCodeSession.open(write(script.rows)))
    again = heard[5].removeprefix("call ")
    assert heard == [
        *("question 0", "call call_0", "result call_0", "answer 0"),
        *("question 1", f"call {again}", f"result {again}", "answer 1"),
    ]
    assert again != "call_0"


def test_blocks_of_one_reply_stay_one_where_a_result_came_between(
    script: Any, write: Write
) -> None:
    script.prompt("go")
    for number in (1, 2):
        script.say(tool_call(f"call_{number}"), id="msg")["requestId"] = "req"
        result = {"type": "tool_result", "tool_use_id": f"call_{number}", "content": "out"}
        script.add("user", message={"role": "user", "content": [result]})
    session = ClaudeCodeSession.open(write(script.rows))
    calls = [f"{kind} call_{number}" for kind in ("call", "result") for number in (1, 2)]
    assert said(session) == ["go", *calls]


@pytest.mark.parametrize("gap_s", [1, 50])
def test_a_compaction_whose_last_row_was_lost_keeps_its_history(
    script: Any, write: Write, gap_s: int
) -> None:
    script.prompt("before")
    script.say("said before")
    script.add("system", subtype="compact_boundary", parentUuid=None, logicalParentUuid="lost")
    script.add("user", isCompactSummary=True, message={"role": "user", "content": "the summary"})
    script.rows[-1]["timestamp"] = f"2026-11-21T01:00:{gap_s:02d}.000Z"
    session = ClaudeCodeSession.open(write(script.rows))
    assert len(session.conversation) == 1
    assert [row.line for row in session.history] == [1, 2, 3, 4]
