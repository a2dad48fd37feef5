from itertools import pairwise

import pytest
from devflow_server.http import Limits, Request, RequestRejected
from devflow_server.http.request_parser import RequestParser
from hypothesis import given
from hypothesis import strategies as st

HOST = b"Host: a\r\n"
POST = b"POST / HTTP/1.1\r\n" + HOST
GET = b"GET / HTTP/1.1\r\n" + HOST
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def read(*pieces: bytes, **limits: int) -> list[Request]:
    parser = RequestParser(Limits(**limits), "127.0.0.1")
    return [request for piece in pieces for request in parser.feed(piece)]


REFUSED = {
    "length and chunked": (POST + b"Content-Length: 5\r\n" + CHUNKED, 400),
    "chunked and length": (POST + CHUNKED + b"Content-Length: 5\r\n", 400),
    "two lengths": (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n", 400),
    "same length twice": (POST + b"Content-Length: 5\r\n" * 2, 400),
    "list of lengths": (POST + b"Content-Length: 5, 5\r\n", 400),
    "signed length": (POST + b"Content-Length: +5\r\n", 400),
    "negative length": (POST + b"Content-Length: -1\r\n", 400),
    "length overflow": (POST + b"Content-Length: 9" + b"9" * 25 + b"\r\n", 400),
    "unknown coding": (POST + b"Transfer-Encoding: xchunked\r\n", 400),
    "two codings": (POST + b"Transfer-Encoding: gzip, chunked\r\n", 400),
    "coding twice": (POST + CHUNKED + b"Transfer-Encoding: identity\r\n", 400),
    "identity": (POST + b"Transfer-Encoding: identity\r\n", 400),
    "space before colon": (POST + b"Transfer-Encoding : chunked\r\n", 400),
    "control before value": (POST + b"Transfer-Encoding:\x0bchunked\r\n", 400),
    "chunked in HTTP/1.0": (b"POST / HTTP/1.0\r\n" + HOST + CHUNKED, 400),
    "folded header": (GET + b"X: a\r\n b\r\n", 400),
    "space before first header": (b"GET / HTTP/1.1\r\n Host: a\r\n", 400),
    "bare LF": (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    "bare LF in headers": (b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n", 400),
    "bare CR": (b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n", 400),
    "NUL": (b"GET / HTTP/1.1\r\nHost: a\0b\r\n", 400),
    "empty name": (GET + b": b\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n", 400),
    "two hosts": (GET + b"Host: b\r\n", 400),
    "HTTP/0.9": (b"GET /\r\n", 505),
    "HTTP/2.0": (b"GET / HTTP/2.0\r\n" + HOST, 505),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\n" + HOST, 400),
    "preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n", 400),
    "absolute target": (b"GET http://b/ HTTP/1.1\r\n" + HOST, 400),
    "connect": (b"CONNECT b:1 HTTP/1.1\r\n" + HOST, 400),
    "asterisk": (b"OPTIONS * HTTP/1.1\r\n" + HOST, 400),
    "space in target": (b"GET /a b HTTP/1.1\r\n" + HOST, 400),
    "other bytes in target": (b"GET /\xc3\xa9 HTTP/1.1\r\n" + HOST, 400),
    "unknown method": (b"FOO / HTTP/1.1\r\n" + HOST, 400),
    "two keys": (GET + b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n", 400),
    "upgrade with body": (
        POST + b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n",
        400,
    ),
    "unknown expectation": (POST + b"Expect: money\r\nContent-Length: 1\r\n", 417),
    "SSH": (b"SSH-2.0-x\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01", 400),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_two_servers_could_read_differently_is_refused(name: str) -> None:
    head, status = REFUSED[name]
    with pytest.raises(RequestRejected) as refused:
        read(head + b"\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
    assert refused.value.status == status


@pytest.mark.parametrize(
    "body",
    [
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"5\nhello\n0\n\n",
        b"5\r\nhelloXX0\r\n\r\n",
        b"-1\r\n",
        b"f" * 17 + b"\r\n",
    ],
)
def test_a_wrong_chunk_is_refused(body: bytes) -> None:
    with pytest.raises(RequestRejected) as refused:
        read(POST + CHUNKED + b"\r\n" + body)
    assert refused.value.status == 400


def test_trailers_are_refused() -> None:
    with pytest.raises(RequestRejected, match="Trailers"):
        read(POST + CHUNKED + b"\r\n0\r\nX: y\r\n\r\n")


def test_a_parser_that_has_refused_takes_no_more() -> None:
    parser = RequestParser(Limits(), "")
    with pytest.raises(RequestRejected):
        parser.feed(b"GET / HTTP/1.1\r\n\r\n")
    assert parser.feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") == []


def test_a_request_before_a_framing_attack_is_not_carried_out() -> None:
    with pytest.raises(RequestRejected):
        read(b"GET /first HTTP/1.1\r\n" + HOST + b"\r\nGET /second HTTP/1.1\r\n\r\n")


def test_what_follows_a_last_request_is_ignored() -> None:
    (request,) = read(GET + b"Connection: close\r\n\r\nGET / HTTP/1.1\r\n")
    assert request.is_last


def test_an_upgrade_is_answered_as_any_other_request() -> None:
    (request,) = read(GET + b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\nxyz")
    assert request.is_last


@pytest.mark.laws(10_000)
@given(cuts=st.lists(st.integers(0, 200), max_size=12))
def test_how_bytes_are_cut_does_not_matter(cuts: list[int]) -> None:
    raw = (
        b"POST /v1/x?beta=true HTTP/1.1\r\nHost: a\r\n"
        b"Anthropic-Beta: one\r\nanthropic-beta: two\r\n"
        b"Content-Length: 5\r\n\r\nhello"
        b"POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
        b"\r\n2\r\nhi\r\n0\r\n\r\n"
    )
    places = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    first, second = read(*(raw[a:b] for a, b in pairwise(places)))
    assert (first.path, first.query, first.body) == ("/v1/x", "beta=true", b"hello")
    assert first.headers["anthropic-beta"] == "one, two"
    assert (second.path, second.body, second.peer) == ("/2", b"hi", "127.0.0.1")


def test_a_body_over_the_limit_is_refused_when_announced() -> None:
    head = POST + b"Content-Length: 101\r\n\r\n"
    with pytest.raises(RequestRejected) as refused:
        read(head, max_body_bytes=100)
    assert refused.value.status == 413


def test_a_chunked_body_over_the_limit_is_refused_when_seen() -> None:
    head = POST + CHUNKED + b"\r\n"
    with pytest.raises(RequestRejected) as refused:
        read(head, *[b"32\r\n" + b"x" * 50 + b"\r\n"] * 3, max_body_bytes=100)
    assert refused.value.status == 413


def test_endless_chunk_extensions_are_refused() -> None:
    head = POST + CHUNKED + b"\r\n1;"
    with pytest.raises(RequestRejected) as refused:
        read(head, *[b"a" * 1024] * 70, max_body_bytes=100)
    assert refused.value.status == 413


def test_headers_over_the_limit_are_refused_whole_or_dribbled() -> None:
    for pieces in ([b"X: " + b"a" * 5000 + b"\r\n\r\n"], [b"X: ", *[b"a" * 500] * 10]):
        with pytest.raises(RequestRejected) as refused:
            read(b"GET / HTTP/1.1\r\n", *pieces, max_head_bytes=4096)
        assert refused.value.status == 431


def test_too_many_headers_are_refused() -> None:
    with pytest.raises(RequestRejected) as refused:
        read(GET + b"X: y\r\n" * 100 + b"\r\n")
    assert refused.value.status == 431


def test_a_long_target_is_refused() -> None:
    with pytest.raises(RequestRejected) as refused:
        read(b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST)
    assert refused.value.status == 414
