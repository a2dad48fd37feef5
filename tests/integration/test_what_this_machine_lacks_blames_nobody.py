"""Without a file descriptor nobody can be asked: that is said, and is held against nobody."""

from __future__ import annotations

import json
import resource
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from integration.doors import Catcher
from integration.served import Reply, Served, read_reply, serve

MODEL = "openai/gpt-5-mini"
BODY = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}).encode()
ANSWER = {
    "id": "gen-1", "object": "chat.completion", "created": 1, "model": MODEL, "provider": "OpenAI",
    "choices": [{"index": 0, "finish_reason": "stop",
                 "message": {"role": "assistant", "content": "Hello"}}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, "cost": 0.000001},
}  # fmt: skip
NO_NEW_FILE = 3
"""As the soft limit: what is open stays open, and nothing can be opened beside it."""


@contextmanager
def without_descriptors(pid: int) -> Generator[None]:
    usual = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (NO_NEW_FILE, usual[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, usual)


def ask(served: Served, one: socket.socket) -> Reply:
    """A request on a connection that is open already."""
    headers = {"Authorization": f"Bearer {served.first_key}", "Content-Type": "application/json"}
    one.sendall(served.head("POST", "/v1/chat/completions", headers, len(BODY)) + BODY)
    return read_reply(one)


@pytest.mark.parametrize("way", ["address", "name", "proxy"])
def test_it_is_said_and_all_is_well_as_soon_as_there_is_one(tmp_path: Path, way: str) -> None:
    with Catcher(json.dumps(ANSWER).encode()) as upstream:  # it closes after each reply
        more = {"OPENROUTER_BASE_URL": upstream.base_url}
        if way == "name":
            more["OPENROUTER_BASE_URL"] = upstream.base_url.replace("127.0.0.1", "localhost")
        elif way == "proxy":
            more["HTTPS_PROXY"] = upstream.base_url.removesuffix("/api/v1")
        with serve(tmp_path, **more) as served, served.connect() as one:
            assert ask(served, one).status == 200
            with without_descriptors(served.pid):
                replies = [ask(served, one) for _ in range(40)]
            again = [ask(served, one) for _ in range(5)]
    assert [reply.status for reply in again] == [200] * 5
    assert {reply.status for reply in replies} == {503}
    for reply in replies:
        assert "file descriptors" in reply.error
        assert "ulimit -n" in reply.error
        assert reply.headers["retry-after"] == "1"
