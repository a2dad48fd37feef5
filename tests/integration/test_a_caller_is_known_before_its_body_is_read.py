"""Before work is done for somebody, they are known: not a byte of a body is read for a stranger."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from socket import socket

import pytest
from integration.served import (
    Reply,
    Served,
    is_closed_by_peer,
    read_reply,
    send_what_is_taken,
    serve,
)

CHAT = "/v1/chat/completions"
MIB = 1024 * 1024
WRONG = "devflow_" + "x" * 43


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("home")
    with serve(home, DEVFLOW_MAX_HELD_BYTES=str(128 * MIB)) as running:
        yield running


STRANGERS: dict[str, tuple[str, str, dict[str, str], int]] = {
    "no key": ("POST", CHAT, {}, 401),
    "a wrong key": ("POST", CHAT, {"Authorization": f"Bearer {WRONG}"}, 401),
    "a wrong key as x-api-key": ("POST", "/v1/messages", {"x-api-key": WRONG}, 401),
    "no such path": ("POST", "/v1/nothing", {}, 404),
    "another method": ("PUT", CHAT, {}, 405),
    "another host": ("POST", CHAT, {"Host": "evil.example"}, 403),
    "a page of another site": ("POST", CHAT, {"Origin": "https://evil.example"}, 403),
    "an open route": ("GET", "/healthz", {}, 413),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_a_stranger_is_refused_when_the_headers_end(served: Served, name: str) -> None:
    method, path, headers, status = STRANGERS[name]
    with served.connect() as one:
        one.sendall(served.head(method, path, {**headers, "Expect": "100-continue"}, 30 * MIB))
        reply = read_reply(one)  # not one byte of the body was sent
        assert reply.status == status
        assert reply.headers["connection"] == "close"
        assert is_closed_by_peer(one)


def test_a_key_without_the_scope_is_refused_when_the_headers_end(served: Served) -> None:
    reader = served.make_key("reader", "--route", "read")
    with served.connect() as one:
        headers = {"Authorization": f"Bearer {reader}"}
        one.sendall(served.head("POST", CHAT, headers, 30 * MIB))
        assert read_reply(one).status == 403
        assert is_closed_by_peer(one)


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_bodies_of_strangers_take_no_memory(served: Served, framing: str) -> None:
    before = served.resident_bytes()
    with ExitStack() as open_connections:
        for _ in range(20):
            one = open_connections.enter_context(served.connect())
            one.settimeout(30)
            if framing == "length":
                one.sendall(served.head("POST", CHAT, {}, 32 * MIB))
                send_what_is_taken(one, b"x" * 31 * MIB)
            else:
                one.sendall(served.head("POST", CHAT, {"Transfer-Encoding": "chunked"}, None))
                send_what_is_taken(one, (b"10000\r\n" + b"x" * 65536 + b"\r\n") * 31 * 16)
        assert served.resident_bytes() - before < 64 * MIB


def test_the_gateways_own_client_is_told_to_go_on(served: Served) -> None:
    body = b'{"model":"auto","messages":[{"role":"user","content":"hello"}]}'
    headers = {"Authorization": f"Bearer {served.first_key}", "Expect": "100-continue"}
    with served.connect() as one:
        one.sendall(served.head("POST", "/v1/messages/count_tokens", headers, len(body)))
        assert read_reply(one).status == 100
        one.sendall(body)
        assert read_reply(one).json["input_tokens"] > 0
        one.sendall(served.head("GET", "/healthz", {}, None))
        assert read_reply(one).status == 200  # the connection goes on


def test_what_all_requests_may_hold_together_is_bounded(served: Served) -> None:
    first, second = served.make_key("first-of-two"), served.make_key("second-of-two")
    with ExitStack() as kept:
        holding = [kept.enter_context(served.connect()) for _ in range(2)]
        assert [announce(served, one, first).status for one in holding] == [100, 100]
        refused = announce(served, kept.enter_context(served.connect()), first)
        assert refused.status == 503  # half of it is for others
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json["error"]["code"] == "queue_full"
        assert "max_held_bytes" in refused.error
        assert announce(served, kept.enter_context(served.connect()), second).status == 100
        for one in holding:
            one.close()
        while True:  # until the gateway has seen that they are gone
            with served.connect() as again:
                if announce(served, again, first).status == 100:
                    break


def announce(served: Served, one: socket, key: str) -> Reply:
    """What is said to somebody who has a large body to send."""
    headers = {"Authorization": f"Bearer {key}", "Expect": "100-continue"}
    one.sendall(served.head("POST", CHAT, headers, 24 * MIB))
    return read_reply(one)


def test_slow_heads_of_strangers_do_not_keep_out_who_has_a_key(served: Served) -> None:
    """700 heads of 60 KB that do not end would be 42 MB; the oldest go when it is a quarter."""
    with ExitStack() as open_connections:
        for _ in range(700):
            one = open_connections.enter_context(served.connect())
            send_what_is_taken(one, b"GET / HTTP/1.1\r\nX: " + b"y" * 60_000)
        reply = served.ask("GET", "/v1/models?limit=1", key=served.first_key)
        assert reply.status == 200


def test_a_route_that_takes_no_conversation_takes_no_large_body(served: Served) -> None:
    reply = served.ask(
        "PATCH", "/system/nodes/main", b'{"model":"' + b"x" * 100_000 + b'"}', key=served.first_key
    )
    assert reply.status == 413
    assert "65536" in reply.error


def test_two_processes_each_hold_their_share(tmp_path: Path) -> None:
    """However small it is set, the largest body can come in."""
    with serve(tmp_path, "--workers", "2", DEVFLOW_MAX_HELD_BYTES="1048576") as served:
        key = served.make_key("one")
        headers = {"Authorization": f"Bearer {key}", "Expect": "100-continue"}
        with served.connect() as one:
            one.sendall(served.head("POST", CHAT, headers, 32 * MIB))
            assert read_reply(one).status == 100
