"""Whatever is in a body, the gateway goes on answering others, and says which limit was passed."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator

import pytest
from devflow_sandbox.threaded import ThreadedSandbox
from integration.served import Served, serve

MODEL = "anthropic/claude-haiku-4.5"
ROUTES = {
    "chat": ("/v1/chat/completions", "messages"),
    "messages": ("/v1/messages", "messages"),
    "responses": ("/v1/responses", "input"),
    "count_tokens": ("/v1/messages/count_tokens", "messages"),
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("home")
    with (
        ThreadedSandbox() as sandbox,
        serve(
            home,
            "--no-key",
            OPENROUTER_BASE_URL=sandbox.base_url,
            OPENROUTER_API_KEY=sandbox.api_key,
        ) as running,
    ):
        yield running


def request_of(route: str, messages: bytes, more: bytes = b"") -> tuple[str, bytes]:
    path, name = ROUTES[route]
    body = b'{"model":"%b","max_tokens":8,"%b":[%b]%b}'
    return path, body % (MODEL.encode(), name.encode(), messages, more)


HELLO = b'{"role":"user","content":"hello"}'


def nested(count: int) -> bytes:
    return b"[" * 31 + b",".join([b"[]"] * count) + b"]" * 31


@pytest.mark.parametrize("route", ROUTES)
def test_ten_million_values_are_refused_before_they_are_made(served: Served, route: str) -> None:
    path, body = request_of(route, HELLO, b',"metadata":{"x":' + nested(10_000_000) + b"}")
    before = served.resident_bytes()
    reply = served.ask("POST", path, body)
    assert reply.status == 400
    assert "200,000 JSON values" in reply.error
    assert served.resident_bytes() - before < 256 * 1024 * 1024  # 10 million lists take a gigabyte


def test_embeddings_and_nodes_have_the_bound_too(served: Served) -> None:
    body = b'{"model":"m","input":[' + b",".join([b"1"] * 300_000) + b"]}"
    reply = served.ask("POST", "/v1/embeddings", body)
    assert reply.status == 400
    assert "200,000 JSON values" in reply.error


@pytest.mark.parametrize("route", ROUTES)
def test_too_many_messages_are_refused(served: Served, route: str) -> None:
    path, body = request_of(route, b",".join([HELLO] * 10_001))
    reply = served.ask("POST", path, body)
    assert reply.status == 400
    assert "10,000 messages" in reply.error


@pytest.mark.parametrize("route", ["chat", "messages", "count_tokens"])
def test_too_many_pieces_of_content_and_tools_are_refused(served: Served, route: str) -> None:
    piece = b",".join([b'{"type":"text","text":"x"}'] * 20_001)
    path, body = request_of(route, b'{"role":"user","content":[' + piece + b"]}")
    reply = served.ask("POST", path, body)
    assert reply.status == 400
    assert "20,000 pieces" in reply.error
    tool = b'{"name":"t","input_schema":{"type":"object"}}'
    path, body = request_of(route, HELLO, b',"tools":[' + b",".join([tool] * 2_001) + b"]")
    reply = served.ask("POST", path, body)
    assert reply.status == 400
    assert "2,000 tools" in reply.error


def test_commas_and_brackets_in_texts_are_no_values(served: Served) -> None:
    text = json.dumps('[1,2],{"a":"\\\\"}' * 300_000).encode()
    path, body = request_of("count_tokens", b'{"role":"user","content":' + text + b"}")
    reply = served.ask("POST", path, body)
    assert reply.status == 200
    assert reply.json["input_tokens"] > 300_000


def test_a_few_large_images_still_pass(served: Served) -> None:
    image = base64.b64encode(b"\x89PNG" + b"\0" * 7_500_000)
    part = b'{"type":"image_url","image_url":{"url":"data:image/png;base64,' + image + b'"}}'
    path, body = request_of("chat", b'{"role":"user","content":[' + b",".join([part] * 3) + b"]}")
    assert len(body) > 30_000_000
    assert served.ask("POST", path, body).status == 200


def test_a_conversation_of_2000_messages_and_5_mb_still_passes(served: Served) -> None:
    turn = json.dumps("Look at [this], {that}, and all of it. " * 65).encode()
    both = b'{"role":"user","content":' + turn + b'},{"role":"assistant","content":' + turn + b"}"
    path, body = request_of("count_tokens", b",".join([both] * 1000))
    assert len(body) > 5_000_000
    reply = served.ask("POST", path, body)
    assert reply.status == 200
    assert reply.json["input_tokens"] > 500_000


@pytest.mark.parametrize(
    "make",
    [
        lambda: request_of("chat", HELLO, b',"metadata":{"x":' + nested(10_000_000) + b"}"),
        lambda: request_of("count_tokens", b",".join([HELLO] * 900_000)),
        lambda: request_of("messages", HELLO, b',"metadata":{"x":"' + b'\\"' * 15_000_000 + b'"}'),
    ],
    ids=["values", "messages", "escapes"],
)
def test_others_are_answered_while_it_is_read(
    served: Served, make: Callable[[], tuple[str, bytes]]
) -> None:
    """While one client sends such bodies, each of many small questions is answered between."""
    path, body = make()
    statuses: list[int] = []

    def send_three() -> None:
        statuses.extend(served.ask("POST", path, body).status for _ in range(3))

    sender = threading.Thread(target=send_three)
    sender.start()
    answered = 0
    while sender.is_alive():
        assert served.ask("GET", "/healthz").status == 200
        answered += 1
    sender.join()
    assert len(statuses) == 3
    assert set(statuses) <= {200, 400}
    assert answered >= 30
