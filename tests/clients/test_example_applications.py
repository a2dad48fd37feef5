"""The example applications, started as their pages say, over the stand-in for OpenRouter."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from clients.pinned import CLIENTS
from devflow_sandbox.threaded import ThreadedSandbox

pytestmark = [pytest.mark.clients, pytest.mark.timeout(600)]

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ("flask_chat", "quart_chat", "fastapi_chat")
HELLO = {"messages": [{"role": "user", "content": "Hello?"}], "params": {"max_tokens": 20}}
PATIENCE_S = 120.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def command(port: int) -> list[str]:
    gunicorn = [sys.executable, "-m", "gunicorn", "-k", "uvicorn.workers.UvicornWorker"]
    return [*gunicorn, "app.main:app", "-b", f"127.0.0.1:{port}"]


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    (frameworks,) = (CLIENTS / "web-frameworks" / "lib").glob("python3*/site-packages")
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    own = {"HOME": str(tmp_path), "DEVFLOW_DATA_DIR": str(tmp_path / "data")}
    return {**kept, **own, "PYTHONPATH": str(frameworks), **more}


@contextmanager
def running(name: str, env: Mapping[str, str], log: Path) -> Generator[httpx.Client]:
    """The application in a process of its own, once it answers; ended at the end."""
    port = free_port()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command(port), cwd=EXAMPLES / name, env=env, stdout=output, stderr=output
        )
    try:
        address = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=address, timeout=PATIENCE_S, trust_env=False) as client:
            while True:
                try:
                    client.get("/api/csrf", headers={"cookie": ""})
                except httpx.TransportError:
                    assert process.poll() is None, log.read_text()
                else:
                    break
            client.cookies.clear()
            yield client
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_answers_limits_and_refuses_forgery(name: str, tmp_path: Path) -> None:
    with ThreadedSandbox() as sandbox:
        env = environment(
            tmp_path,
            OPENROUTER_API_KEY=sandbox.api_key,
            OPENROUTER_BASE_URL=sandbox.base_url,
            CHAT_MODEL="anthropic/claude-haiku-4.5",
            CHAT_POSTS_PER_MINUTE="6",
        )
        with running(name, env, tmp_path / "log") as client:
            assert client.get("/health").json() == {"status": "ok"}
            reply = client.post("/api/chat", json=HELLO)
            assert reply.status_code == 200, reply.text
            assert reply.json()["choices"][0]["message"]["content"]
            _try_browsers(client)
            _try_wrong_bodies(client)
            unknown = {**HELLO, "params": {"model": "nobody/nothing"}}
            told = client.post("/api/chat", json=unknown, headers={"accept-language": "it"})
            assert told.status_code == 404
            assert "Riprova" in told.text or "riprova" in told.text
            limited = _post_until_refused(client)
            assert limited.status_code == 429
            assert int(limited.headers["retry-after"]) >= 1
    written = (tmp_path / "log").read_text()
    assert sandbox.api_key not in written
    assert "Traceback" not in written


def _post_until_refused(client: httpx.Client) -> httpx.Response:
    for _ in range(30):
        reply = client.post("/api/chat", json=HELLO)
        if reply.status_code != 200:
            return reply
    raise AssertionError("it is never refused")


def _try_browsers(client: httpx.Client) -> None:
    """A page of another site cannot show the token; our own can."""
    origin = {"origin": "https://evil.example"}
    assert client.post("/api/chat", json=HELLO, headers=origin).status_code == 403
    token = client.get("/api/csrf").json()["token"]
    assert client.post("/api/chat", json=HELLO, headers=origin).status_code == 403
    wrong = {**origin, "x-csrf-token": "x" + token[1:]}
    assert client.post("/api/chat", json=HELLO, headers=wrong).status_code == 403
    own = {"origin": str(client.base_url), "x-csrf-token": token}
    assert client.post("/api/chat", json=HELLO, headers=own).status_code == 200
    client.cookies.clear()


def _try_wrong_bodies(client: httpx.Client) -> None:
    wrong: list[Any] = [[], {"messages": "hi"}, {**HELLO, "params": {"provider": {}}}]
    for body in wrong:
        assert client.post("/api/chat", json=body).status_code in (400, 422)


def test_without_a_key_no_worker_starts(tmp_path: Path) -> None:
    done = subprocess.run(
        command(free_port()),
        check=False,
        cwd=EXAMPLES / "flask_chat",
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode != 0
    assert "OpenRouterConfigError: OpenRouterService needs an api_key" in done.stderr
