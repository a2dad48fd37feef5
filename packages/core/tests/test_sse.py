import re
from itertools import pairwise

import pytest
from devflow_core.errors import ReplyTooLarge
from devflow_core.wire.sse import SseFrame, SseReader, encode
from hypothesis import example, given
from hypothesis import strategies as st


def _read(*chunks: bytes) -> list[SseFrame]:
    reader = SseReader()
    return [frame for chunk in chunks for frame in reader.feed(chunk)] + reader.close()


def _reference(stream: bytes) -> list[tuple[str | None, bytes]]:
    """Return a whole stream's events by the WHATWG's algorithm, even an unterminated last one."""
    lines = re.split(rb"\r\n|\r|\n", stream.removeprefix(b"\xef\xbb\xbf"))
    events: list[tuple[str | None, bytes]] = []
    event: str | None = None
    data: list[bytes] = []
    for line in [*lines, b""]:
        field, _, value = line.partition(b":")
        value = value[1:] if value[:1] == b" " else value
        if line == b"":
            if data:
                events.append((event, b"\n".join(data)))
            event, data = None, []
        elif field == b"data":
            data.append(value)
        elif field == b"event":
            event = value.decode(errors="replace")
    return events


def _events(frames: list[SseFrame]) -> list[tuple[str | None, bytes]]:
    return [(frame.event, frame.data) for frame in frames if frame.data is not None]


_LINES = st.sampled_from(
    [
        b"data: {}", b"data:x", b"data", b"data: ", b"event: ping", b": comment", b"id: 7",
        b"retry: 10", b"", b"", b"data: \xe2\x80\xa8\xc2\x85", b"data: \xff\xfe", b"\xef\xbb\xbf",
    ]
)  # fmt: skip
_STREAMS = st.lists(st.tuples(_LINES, st.sampled_from([b"\n", b"\r\n", b"\r"])), max_size=25).map(
    lambda lines: b"".join(line + end for line, end in lines)
)


@pytest.mark.laws(10_000)
@given(_STREAMS, st.lists(st.integers(0, 400), max_size=12), st.booleans())
@example(b"data: a\r\n\r\ndata: b\r\n\r\n", [10, 11, 12], False)
@example(b"\xef\xbb\xbfdata: a\n\n", [1, 2], True)
def test_any_cut_of_the_bytes_gives_the_events_of_the_reference(
    stream: bytes, cuts: list[int], has_bom: bool
) -> None:
    stream = b"\xef\xbb\xbf" * has_bom + stream
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    chunks = [stream[a:b] for a, b in pairwise(edges)]
    frames = _read(*chunks)
    assert _events(frames) == _reference(stream)
    assert b"".join(frame.raw for frame in frames if not frame.is_cut) in stream


def test_byte_by_byte_is_the_same_as_at_once() -> None:
    stream = b"event: a\r\ndata: 1\r\n\r\n: c\n\ndata:2\rdata: 3\r\rdata: 4\n\n"
    chunks = [stream[i : i + 1] for i in range(len(stream))]
    assert _events(_read(*chunks)) == [("a", b"1"), (None, b"2\n3"), (None, b"4")]


def test_raw_bytes_are_kept_whole() -> None:
    stream = b": OPENROUTER PROCESSING\n\ndata: {}\n\nevent: ping\ndata: 1\n\n"
    frames = _read(stream[:9], stream[9:])
    assert b"".join(frame.raw for frame in frames) == stream


def test_comments_are_frames_without_data() -> None:
    assert [frame.data for frame in _read(b": OPENROUTER PROCESSING\n\ndata: x\n\n")] == [
        None,
        b"x",
    ]


def test_an_event_without_its_blank_line_is_given_at_the_end_and_marked() -> None:
    (frame,) = _read(b"data: [DONE]")
    assert frame == SseFrame(None, b"[DONE]", b"data: [DONE]\n\n", is_cut=True)


def test_a_comment_without_its_blank_line_is_nothing() -> None:
    assert _read(b": half") == []


@pytest.mark.parametrize(
    "chunks",
    [
        [b"data: " + b"x" * 60, b"x" * 60],
        [b"data: " + b"x" * 120 + b"\n\n"],
        [b"event: e\ndata: " + b"x" * 120 + b"\n\n"],
    ],
)
def test_an_event_over_the_cap_is_refused(chunks: list[bytes]) -> None:
    reader = SseReader(max_event_bytes=100)
    *before, last = chunks
    for chunk in before:
        reader.feed(chunk)
    with pytest.raises(ReplyTooLarge, match="more than 100 bytes"):
        reader.feed(last)


def test_what_is_encoded_is_read_again() -> None:
    frames = _read(encode(b"{}"), encode(b"[1]", "ping"))
    assert _events(frames) == [(None, b"{}"), ("ping", b"[1]")]
