"""Real clients from npm, and a scripted API for them to talk to. `make test-clients` runs this."""

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from clients.matrix import CLIENT_TIMEOUT_S, Door, installed_command, open_door


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.clients)
            item.add_marker(pytest.mark.timeout(CLIENT_TIMEOUT_S + 30))


class ClaudeCode:
    """One installed version of Claude Code, with an empty home of its own."""

    def __init__(self, version: str, home: Path, api: "ScriptedApi") -> None:
        self.version = version
        self.program = installed_command(f"claude-code-{version}")
        self.knows_windows = len(self.program) == 1
        """Whether it can be told the context window of a model, as those of one file can."""
        self.home = home
        self.config_dir = home / ".claude"
        self.project = home / "demo"
        self.project.mkdir(parents=True)
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "IS_SANDBOX": "1",
            "ANTHROPIC_BASE_URL": api.url,
            "ANTHROPIC_AUTH_TOKEN": "dummy",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_TELEMETRY": "1",
            "DISABLE_ERROR_REPORTING": "1",
            "DISABLE_AUTOUPDATER": "1",
            "CLAUDE_CODE_MAX_RETRIES": "1",
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Start it in its project and wait for its end."""
        return subprocess.run(
            [*self.program, *arguments],
            cwd=self.project,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=CLIENT_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )


class ScriptedApi:
    """A model's API as far as a client needs it: one answer to everything, and what was asked.

    Anthropic's for Claude Code, and chat completions for DevFlow itself.
    """

    def __init__(self) -> None:
        self.reply: Callable[[dict[str, Any]], bytes] = lambda body: answer(body["model"])
        """What it streams, given the body of a request."""
        self.requests: list[dict[str, Any]] = []
        self.keys: set[str | None] = set()
        """What the requests authorised themselves with."""
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if "/count_tokens" in self.path:
                    self._send("application/json", b'{"input_tokens": 10}')
                    return
                api.requests.append(body)
                if self.path.endswith("/chat/completions"):
                    self._send("application/json", completion(body["model"]))
                    return
                api.keys |= {self.headers["authorization"] or self.headers["x-api-key"]}
                self._send("text/event-stream", api.reply(body))

            def _send(self, kind: str, content: bytes) -> None:
                self.send_response(200)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def was_asked(self, *words: str) -> bool:
        """Whether one request holds all of these words.

        Clients also ask in the background (a title, a warm-up), before or after the question.
        """
        bodies = [json.dumps(request) for request in self.requests]
        return any(all(word in body for word in words) for body in bodies)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def answer(model: str) -> bytes:
    """A short reply as Anthropic streams it."""
    usage = {"input_tokens": 3, "output_tokens": 1}
    message: dict[str, Any] = {
        "id": "msg_scripted",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }
    text = {"type": "text_delta", "text": "Scripted answer."}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": text},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 5},
        },
        {"type": "message_stop"},
    ]
    return b"".join(
        f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events
    )


def completion(model: str) -> bytes:
    """The same reply as a whole chat completion."""
    message = {"role": "assistant", "content": "Scripted answer."}
    body = {
        "id": "gen-scripted",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8, "cost": 0},
    }
    return json.dumps(body).encode()


@pytest.fixture(scope="session")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """One gateway over the stand-in for all clients of a worker, which ask one after another."""
    with open_door(tmp_path_factory.mktemp("door")) as opened:
        yield opened


@pytest.fixture
def api() -> Iterator[ScriptedApi]:
    scripted = ScriptedApi()
    yield scripted
    scripted.close()


@pytest.fixture
def claude_code(request: pytest.FixtureRequest, tmp_path: Path, api: ScriptedApi) -> ClaudeCode:
    return ClaudeCode(request.param, tmp_path / "home", api)
