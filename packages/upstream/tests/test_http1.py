"""Laws of the reply reader: the cut of the bytes never matters, and nothing ambiguous passes."""

import pytest
from devflow_core.errors import DevFlowError, Incomplete, ProtocolError, ReplyTooLarge
from devflow_openrouter.testing import chunked_body, http_reply
from devflow_upstream.transport.http1_reader import ReplyLimits, ReplyReader
from hypothesis import given
from hypothesis import strategies as st

HEAD = b"HTTP/1.1 200 OK\r\nX-Thing: a\r\nX-Thing: b\r\n"
BODIES = st.lists(st.binary(min_size=1, max_size=40), max_size=6)
CUTS = st.lists(st.integers(min_value=1, max_value=30), max_size=80)


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    pieces: list[bytes] = []
    for cut in cuts:
        pieces.append(data[:cut])
        data = data[cut:]
    return [*pieces, data]


def read(
    data: bytes, cuts: list[int], limits: ReplyLimits | None = None
) -> tuple[bytes, ReplyReader]:
    reader = ReplyReader(limits or ReplyLimits())
    body = b"".join(b"".join(reader.feed(piece)) for piece in pieces_of(data, cuts))
    return body, reader


@pytest.mark.laws(10_000)
@given(BODIES, CUTS)
def test_a_chunked_body_is_read_the_same_however_it_is_cut(
    bodies: list[bytes], cuts: list[int]
) -> None:
    data = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunked_body(*bodies)
    body, reader = read(data, cuts)
    assert (body, reader.status, reader.is_done) == (b"".join(bodies), 200, True)
    assert reader.headers["x-thing"] == "a, b"
    assert reader.is_reusable


@pytest.mark.laws(10_000)
@given(st.binary(max_size=60), CUTS)
def test_a_counted_body_is_read_the_same_however_it_is_cut(body: bytes, cuts: list[int]) -> None:
    got, reader = read(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body, cuts)
    assert (got, reader.is_done, reader.is_reusable) == (body, True, True)


@pytest.mark.laws(10_000)
@given(st.binary(max_size=60), CUTS)
def test_a_body_until_the_end_is_whole_at_the_end_and_never_reused(
    body: bytes, cuts: list[int]
) -> None:
    got, reader = read(HEAD + b"\r\n" + body, cuts)
    assert (got, reader.is_done) == (body, False)
    reader.finish()
    assert (reader.is_done, reader.is_reusable) == (True, False)


@pytest.mark.laws(10_000)
@given(st.binary(max_size=300), CUTS)
def test_any_bytes_give_an_error_or_a_reply_and_never_another_exception(
    data: bytes, cuts: list[int]
) -> None:
    for start in (b"", HEAD, HEAD + b"Transfer-Encoding: chunked\r\n\r\n"):
        try:
            read(start + data, cuts)
        except DevFlowError as error:
            assert isinstance(error, ProtocolError | ReplyTooLarge)  # noqa: PT017


@pytest.mark.laws(10_000)
@given(BODIES.filter(bool), st.data())
def test_a_chunked_body_that_is_cut_is_incomplete(bodies: list[bytes], data: st.DataObject) -> None:
    complete = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunked_body(*bodies)
    start = complete.index(b"\r\n\r\n") + 4
    reader = ReplyReader(ReplyLimits())
    reader.feed(complete[: data.draw(st.integers(start, len(complete) - 1))])
    with pytest.raises(Incomplete):
        reader.finish()


def test_interim_replies_and_trailers_are_read_over() -> None:
    data = b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    body, reader = read(data + b"2;ext=1\r\nab\r\n0\r\nTrailer: x\r\n\r\n", [])
    assert (body, reader.status, reader.is_done) == (b"ab", 200, True)


def test_a_reply_of_http_1_0_is_not_reused() -> None:
    _, reader = read(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", [])
    assert (reader.is_done, reader.is_reusable) == (True, False)


def test_no_content_has_no_body() -> None:
    _, reader = read(b"HTTP/1.1 204 None\r\n\r\n", [])
    assert (reader.is_done, reader.is_reusable) == (True, True)


def test_a_surplus_byte_ends_the_reuse() -> None:
    _, reader = read(http_reply(b"{}") + b"x", [])
    assert (reader.is_done, reader.is_reusable) == (True, False)


@pytest.mark.parametrize(
    "data",
    [
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nbroken\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"0" * 2000,
        b"HTTP/1.1 100 X\r\n\r\n" * 9,
        b"HTTP/2 200\r\n\r\n",
    ],
)
def test_broken_framing_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        read(data, [])


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
        HEAD + b"\r\n" + b"x" * 101,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"T: x\r\n" * 30,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nT: " + b"x" * 70_000,
    ],
)
def test_every_part_has_a_limit(data: bytes) -> None:
    with pytest.raises(ReplyTooLarge):
        read(data, [], ReplyLimits(max_body_bytes=100))


def test_the_end_inside_the_head_is_no_reply() -> None:
    reader = ReplyReader(ReplyLimits())
    reader.feed(b"HTTP/1.1 200")
    with pytest.raises(ProtocolError):
        reader.finish()
