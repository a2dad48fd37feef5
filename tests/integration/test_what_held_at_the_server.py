"""What an attack on the server did not get through, kept so: who may use what, framing, names."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from devflow_core.settings import Settings
from devflow_gateway import wiring
from integration.served import Reply, Served, read_reply, send_what_is_taken, serve

ROUTES = (
    ("POST", "/v1/chat/completions", "chat"),
    ("POST", "/api/v1/chat/completions", "chat"),
    ("POST", "/v1/messages", "chat"),
    ("POST", "/api/v1/messages", "chat"),
    ("POST", "/v1/responses", "chat"),
    ("POST", "/api/v1/responses", "chat"),
    ("POST", "/v1/messages/count_tokens", "chat"),
    ("POST", "/v1/embeddings", "embeddings"),
    ("GET", "/v1/models", "read"),
    ("GET", "/v1/models/anthropic/claude-haiku-4.5", "read"),
    ("GET", "/api/v1/models", "read"),
    ("GET", "/openrouter/status", "read"),
    ("GET", "/system/nodes", "read"),
    ("PATCH", "/system/nodes/main", "operate"),
    ("GET", "/metrics", "operate"),
    ("GET", "/healthz", "open"),
    ("GET", "/readyz", "open"),
    ("GET", "/openapi.json", "open"),
    ("GET", "/docs", "open"),
)
EVERYTHING = {"chat", "embeddings", "read"}
GOOD_KEYS = {
    "without scopes": ((), EVERYTHING),
    "chat": (("--route", "chat"), {"chat"}),
    "embeddings": (("--route", "embeddings"), {"embeddings"}),
    "read": (("--route", "read"), {"read"}),
    "operate": (("--route", "operate"), {"operate"}),
    "a model": (("--model", "z-ai/*"), EVERYTHING),
}
BAD_KEYS = ("none", "unknown", "revoked", "expired", "cut", "of the provider", "in the query")


@dataclass(frozen=True)
class Door:
    """A gateway, and a key of each kind."""

    served: Served
    keys: dict[str, str]


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with serve(tmp_path_factory.mktemp("home")) as served:
        keys = {
            name: served.make_key(name.replace(" ", "-"), *options)
            for name, (options, _) in GOOD_KEYS.items()
        }
        keys["revoked"] = served.make_key("gone")
        assert served.devflow("keys", "revoke", _id_of(served, "gone")).status == 0
        keys["cut"] = keys["operate"][:-1]
        keys["unknown"] = "devflow_" + "x" * 43
        keys["of the provider"] = "sk-or-v1-" + "0" * 64
        keys["in the query"] = keys["without scopes"]
        yield Door(served, keys)


@pytest.fixture
async def expired(door: Door) -> str:
    """A key whose time is over."""
    settings = Settings.load({"HOME": str(door.served.home)})
    async with wiring.make_store(settings) as store:
        name = f"late-{datetime.now(UTC).timestamp()}"
        _, secret = await store.keys.create(name, {}, datetime.now(UTC) - timedelta(seconds=1))
    return secret


def _id_of(served: Served, name: str) -> str:
    keys = json.loads(served.devflow("keys", "list", "--json").out)["keys"]
    return next(one["id"] for one in keys if one["name"] == name)


@pytest.mark.parametrize("name", GOOD_KEYS)
def test_a_key_opens_the_routes_of_its_scope_and_no_other(door: Door, name: str) -> None:
    _, groups = GOOD_KEYS[name]
    for method, path, group in ROUTES:
        body = b"{}" if method != "GET" else None
        for header in ("Authorization", "x-api-key"):
            value = f"Bearer {door.keys[name]}" if header == "Authorization" else door.keys[name]
            status = door.served.ask(method, path, body, {header: value}).status
            may = group == "open" or group in groups
            assert (status not in (401, 403)) == may, (method, path, name, header, status)


@pytest.mark.parametrize("name", BAD_KEYS)
def test_what_is_no_key_opens_only_the_open_routes(door: Door, expired: str, name: str) -> None:
    keys = {**door.keys, "expired": expired}
    for number, (method, path, group) in enumerate(ROUTES):
        body = b"{}" if method != "GET" else None
        asked = f"{path}?key={keys[name]}" if name == "in the query" else path
        given = None if name in ("none", "in the query") else keys[name]
        source = f"127.7.{BAD_KEYS.index(name)}.{number + 1}"  # as from many, so that none waits
        status = door.served.ask(method, asked, body, key=given, source=source).status
        assert (status not in (401, 403)) == (group == "open"), (method, path, name, status)


@pytest.mark.parametrize(
    "value",
    ["Bearer", "Bearer ", "Basic {}", "{}", "Token {}", "Bearer {}x", "Bearer  x{}", "Bearer é{}",
     "bearer,{}", "Bearer {},{}", "Bearer ' OR 1=1 --"],
)  # fmt: skip
def test_other_forms_of_a_right_key_are_no_key(door: Door, value: str) -> None:
    key = door.keys["without scopes"]
    reply = door.served.ask("GET", "/v1/models", None, {"Authorization": value.replace("{}", key)})
    assert reply.status == 401


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1:80@evil.example", "localhost:x",
     "[::]", "127.0.0.1.nip.io", "localhost#evil", "2130706433", "0x7f000001",
     "127.1", "[::ffff:127.0.0.1]"],
)  # fmt: skip
def test_another_host_is_refused_also_with_a_right_key(door: Door, host: str) -> None:
    for path in ("/healthz", "/v1/models"):
        reply = door.served.ask("GET", path, headers={"Host": host}, key=door.keys["operate"])
        assert reply.status in (400, 403), host
        assert not [name for name in reply.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:1"},
     {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}],
    ids=str,
)  # fmt: skip
def test_a_page_of_another_site_gets_nothing(door: Door, headers: dict[str, str]) -> None:
    for method, path, _ in ROUTES:
        reply = door.served.ask(method, path, headers=headers, key=door.keys["operate"])
        assert reply.status == 403
        assert not [name for name in reply.headers if name.startswith("access-control")]


GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
RAW = {
    "length and chunks": POST + b"Content-Length: 5\r\n" + CHUNKED,
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n",
    "a list of lengths": POST + b"Content-Length: 5, 5\r\n",
    "a signed length": POST + b"Content-Length: +5\r\n",
    "a negative length": POST + b"Content-Length: -1\r\n",
    "a length beyond 64 bits": POST + b"Content-Length: " + b"9" * 30 + b"\r\n",
    "a length in hexadecimal": POST + b"Content-Length: 0x10\r\n",
    "an unknown coding": POST + b"Transfer-Encoding: xchunked\r\n",
    "two codings": POST + b"Transfer-Encoding: gzip, chunked\r\n",
    "no coding": POST + b"Transfer-Encoding: identity\r\n",
    "a blank before the colon": POST + b"Transfer-Encoding : chunked\r\n",
    "a folded header": GET + b"X: a\r\n b\r\n",
    "a bare LF": b"GET / HTTP/1.1\nHost: localhost\n\n",
    "a bare CR": b"GET / HTTP/1.1\r\nHost: localhost\rX: b\r\n",
    "a NUL": b"GET / HTTP/1.1\r\nHost: local\0host\r\n",
    "no Host": b"GET / HTTP/1.1\r\n",
    "two Hosts": GET + b"Host: localhost\r\n",
    "HTTP/0.9": b"GET /\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n",
    "an absolute target": b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n",
    "CONNECT": b"CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\n",
    "an asterisk": b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n",
    "two keys": GET + b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n",
    "a wrong chunk": POST + CHUNKED + b"\r\n0x5\r\nhello\r\n",
    "a chunk without its end": POST + CHUNKED + b"\r\n5\r\nhelloXX0\r\n",
    "a negative chunk": POST + CHUNKED + b"\r\n-1\r\n",
    "too many headers": GET + b"X: y\r\n" * 200,
    "too large headers": GET + b"X: " + b"y" * 70_000 + b"\r\n",
    "a long target": b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: localhost\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
}


@pytest.mark.parametrize("name", RAW)
def test_what_two_servers_could_read_differently_is_refused_and_closed(
    door: Door, name: str
) -> None:
    smuggled = b"\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with door.served.connect() as one:
        send_what_is_taken(one, RAW[name] + smuggled)
        received = _read_to_the_end(one)
    assert b" 200 " not in received
    assert received.count(b"HTTP/1.1 ") == 1
    assert received[9:10] in (b"4", b"5")


def _read_to_the_end(one: socket.socket) -> bytes:
    received = b""
    try:
        while piece := one.recv(65536):
            received += piece
    except ConnectionError:
        return received
    return received


ODD_VALUES = ("", "\t", "é", "\xff" * 30, "a" * 5_000, "-1", "1e400", "NaN", "null", "{}", "%00",
              "../../etc/passwd", "devflow_", "Bearer", "0" * 400, "\u00a0")  # fmt: skip
OUR_HEADERS = ("x-api-key", "x-openrouter-key", "idempotency-key", "x-devflow-max-cost-usd",
               "x-devflow-session", "x-devflow-node", "x-devflow-cache", "traceparent",
               "x-claude-code-agent-id", "user-agent", "anthropic-beta", "expect", "connection",
               "x-devflow-project", "content-type", "range", "upgrade", "via")  # fmt: skip
ODD_JSON = (b"", b"{", b"null", b"[]", b"1e9", b'{"model":1}', b'{"model":"auto"}',
            b'{"model":"auto","messages":{}}', b'{"model":"auto","messages":[null]}',
            b'{"model":"auto","messages":[{"role":[],"content":{}}]}', b'{"a":' * 5000,
            b'{"model":"\\ud800","messages":[]}', b"\xff\xfe", b'{"model":"a","model":"b"}',
            b'{"model":"auto","input":[[]],"tools":[1],"metadata":[],"stream":"x"}')  # fmt: skip


def test_nothing_that_a_request_can_hold_ends_the_gateway(door: Door) -> None:
    """Headers, paths and bodies at random from odd ones: every request gets an answer of HTTP."""
    chosen = random.Random(1)  # noqa: S311 - the same every time
    for number in range(400):
        method, path, _ = chosen.choice(ROUTES)
        headers = {
            chosen.choice(OUR_HEADERS): chosen.choice(ODD_VALUES)
            for _ in range(chosen.randrange(4))
        }
        headers["Authorization"] = f"Bearer {door.keys[chosen.choice(list(GOOD_KEYS))]}"
        query = chosen.choice(("", "?limit=x", "?limit=99999999999", "?%", "?a=1&a=2", "/%00", "x"))
        body = chosen.choice(ODD_JSON) if method != "GET" else None
        reply = _ask(door.served, method, path + query, headers, body)
        assert 200 <= reply.status < 600, (number, method, path, query, headers, body)
        assert reply.status != 500, (number, method, path, query, headers, body)
    assert door.served.ask("GET", "/readyz").status == 200


def _ask(
    served: Served, method: str, path: str, headers: dict[str, str], body: bytes | None
) -> Reply:
    with served.connect() as one:
        one.sendall(served.head(method, path, headers, None if body is None else len(body)))
        if body is not None:
            send_what_is_taken(one, body)
        reply = read_reply(one)
        return read_reply(one) if reply.status == 100 else reply
