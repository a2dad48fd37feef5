import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from devflow_claude_code.reading.rows import decode_line
from devflow_claude_code.reading.transcript import Transcript, open_regular_file
from devflow_core.errors import SessionError
from hypothesis import given
from hypothesis import strategies as st


def read(path: Path) -> Transcript:
    transcript = Transcript(path)
    transcript.refresh()
    return transcript


def bytes_of(transcript: Transcript) -> bytes:
    data = transcript.path.read_bytes()
    return b"".join(data[row.offset : row.offset + row.length] for row in transcript.rows)


def test_what_was_read_can_be_written_back_to_the_same_bytes(recorded: Path) -> None:
    transcript = read(recorded)
    assert bytes_of(transcript) == recorded.read_bytes()
    assert [row.line for row in transcript.rows] == list(range(1, len(transcript.rows) + 1))


@given(st.lists(st.one_of(st.binary(max_size=40), st.just(b'{"type":"user","uuid":"u"}'))))
def test_any_bytes_are_kept(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("any") / "t.jsonl"
    path.write_bytes(b"\n".join(lines))
    transcript = read(path)
    assert bytes_of(transcript) == path.read_bytes()


@given(st.data())
def test_a_growing_file_reads_like_the_whole(
    tmp_path_factory: pytest.TempPathFactory, transcripts: Path, data: st.DataObject
) -> None:
    complete = next((transcripts / "2.0.77" / "coding").glob("*-*-*.jsonl")).read_bytes()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(complete)), max_size=6)))
    path = tmp_path_factory.mktemp("grow") / "t.jsonl"
    path.write_bytes(b"")
    transcript = Transcript(path)
    transcript.refresh()
    for end in [*cuts, len(complete)]:
        with path.open("ab") as file:
            file.write(complete[path.stat().st_size : end])
        transcript.refresh()
    again = read(path)
    assert transcript.rows == again.rows
    assert transcript.skipped_lines == again.skipped_lines == 0
    assert transcript.metadata == again.metadata


def test_an_unfinished_last_line_is_one_skipped_line_until_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(b'{"type":"user","uuid":"a"}\n{"type":"user","uu')
    transcript = read(path)
    assert transcript.skipped_lines == 1
    with path.open("ab") as file:
        file.write(b'id":"b"}')
    assert transcript.refresh()
    assert not transcript.refresh()
    assert transcript.skipped_lines == 0
    assert [row.uuid for row in transcript.rows] == ["a", "b"]


def test_a_file_that_was_replaced_or_cut_is_read_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(b'{"type":"user","uuid":"a"}\n{"type":"user","uuid":"b"}\n')
    transcript = read(path)
    path.write_bytes(b'{"type":"user","uuid":"c"}\n')
    transcript.refresh()
    assert [row.uuid for row in transcript.rows] == ["c"]
    other = tmp_path / "other"
    other.write_bytes(b'{"type":"user","uuid":"d"}\n' * 9)
    other.replace(path)
    transcript.refresh()
    assert {row.uuid for row in transcript.rows} == {"d"}


def test_half_a_surrogate_pair_and_broken_utf8_become_a_replacement_character() -> None:
    assert decode_line(b'{"a":"\\ud83d"}') == {"a": "\ufffd"}
    assert decode_line(b'{"a":"\\ud83d\\ude00 \\\\ud83d \\udc00"}') == {
        "a": "\U0001f600 \\ud83d \ufffd"
    }
    assert decode_line(b'{"a":"\xff"}') == {"a": "\ufffd"}
    assert decode_line(b"[1]") is None
    assert decode_line(b"[" * 5000) is None


def test_values_of_the_wrong_type_are_read_as_nothing(
    write: Callable[[Iterable[object]], Path],
) -> None:
    path = write(
        [
            {"type": 1, "uuid": [], "message": "no"},
            {"type": "assistant", "uuid": "a", "message": {"content": 5, "usage": 3, "id": {}}},
            {"type": "assistant", "message": {"content": [5], "usage": {"input_tokens": "x"}}},
            {"type": "attachment", "attachment": "x"},
        ]
    )
    kinds = [row.type for row in read(path).rows]
    assert kinds == ["untyped", "assistant", "assistant", "attachment"]


def test_a_path_that_is_not_a_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path, tmp_path / "missing.jsonl", Path("a\0b"), Path("/dev/zero")):
        with pytest.raises(SessionError):
            open_regular_file(path)
