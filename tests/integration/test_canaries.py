"""Nothing of a prompt, a reply or a key is left where nobody has asked for it.

Canaries go in by every door, each at a place of its own; then every file, log, figure, trace,
report and reply is searched for them, in every encoding.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from devflow_claude_code.testing import TranscriptScript
from devflow_cli import main
from devflow_core import log
from devflow_core.request import ChatRequest
from devflow_core.settings import Settings
from devflow_gateway import wiring
from devflow_server import run_gateway
from integration.canary_search import find_canary, read_places
from integration.echoing_upstream import EchoingUpstream

DEVFLOW = Path(sys.executable).with_name("devflow")

TEXTS = {
    "prompt": "qzPromptKanarie71w",
    "password in a prompt": "hunter3KanarieWachtwoord",
    "key in a prompt": "sk-or-v1-0123456789abcdefKANARIEinPROMPT0123456789abcdef",
    "token in a prompt": "ghp_Kanarie0123456789abcdefghijKLMNOPQRST",
    "system prompt": "qzSystemKanarie72w",
    "tool name": "qz_tool_kanarie_73w",
    "tool argument": "qzArgumentKanarie74w",
    "schema": "qzSchemaKanarie75w",
    "file in a session": "qzSessionFileKanarie76w",
    "prompt in a session": "qzSessionPromptKanarie77w",
    "header": "qzHeaderKanarie78w",
    "text to embed": "qzEmbedKanarie79w",
    "question in words": "qzvragkanarie",
}
"""What somebody says, and what is kept nowhere."""
REPLY = "qzReplyKanarie80w"
"""What a model says: whoever asks gets it, and an idempotency key keeps it for a day."""
KEYS = {
    "server's key": "sk-or-v1-fedcba9876543210KANARIEserver00112233445566778899aabb",
    "caller's key": "EigenSleutelKanarieZonderVorm42",
    "management key": "sk-or-v1-mgmt9876543210KANARIEmgmt00112233445566778899aabb",
    "password of a proxy": "ProxyWachtwoordKanarie9",
    "password of a database": "PgWachtwoordKanarie8",
    "secret of a webhook": "HaakGeheimKanarie7ab",
    "wrong client key": "devflow_KanarieVerkeerdeSleutel0123456789",
}


@dataclass
class House:
    """A home with Claude Code's folder, the data folder, and everything that was seen."""

    home: Path
    upstream: EchoingUpstream
    seen: dict[str, bytes] = field(default_factory=dict[str, bytes])
    """What came out of each door."""
    client_key: str = ""

    @property
    def environ(self) -> dict[str, str]:
        """Of a command: all the keys, and a provider that answers."""
        return {
            "HOME": str(self.home),
            "PATH": os.environ["PATH"],
            "NO_COLOR": "1",
            "COLUMNS": "200",
            "OPENROUTER_API_KEY": KEYS["server's key"],
            "OPENROUTER_BASE_URL": self.upstream.base_url,
            "DEVFLOW_MANAGEMENT_KEY": KEYS["management key"],
            "DEVFLOW_PROXY_URL": f"http://user:{KEYS['password of a proxy']}@127.0.0.1:9",
            "DEVFLOW_BUDGET_ALERT_WEBHOOK_SECRET": KEYS["secret of a webhook"],
            "DEVFLOW_MAX_RETRIES": "1",
            "DEVFLOW_LOG_LEVEL": "debug",
        }

    def settings(self) -> Settings:
        return Settings.load(
            self.environ,
            log_level="debug",
            port=0,
            cache=False,
            otel_endpoint=self.upstream.base_url.removesuffix("/api/v1") + "/v1/traces",
        )

    def run(self, *arguments: str, stdin: bytes = b"", **environ: str) -> bytes:
        """What a command has written, kept under its arguments; it runs in this process."""
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in "oe")
        values = {**self.environ, **environ}
        with pytest.MonkeyPatch.context() as patch, suppress(SystemExit):
            for name in list(os.environ):
                patch.delenv(name)
            for name, value in values.items():
                patch.setenv(name, value)
            patch.chdir(self.home)
            patch.setattr(sys, "argv", ["devflow", *arguments])
            patch.setattr(sys, "excepthook", sys.excepthook)
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), "utf-8"))
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            main.run()
        return self._keep(arguments, *(one.buffer.getvalue() for one in (out, err)))

    def run_installed(self, *arguments: str, **environ: str) -> bytes:
        """The same by the installed command, in a process of its own."""
        done = subprocess.run(
            [str(DEVFLOW), *arguments],
            env={**self.environ, **environ},
            cwd=self.home,
            capture_output=True,
            check=False,
        )
        return self._keep(arguments, done.stdout, done.stderr)

    def _keep(self, arguments: tuple[str, ...], out: bytes, err: bytes) -> bytes:
        name = f"{len(self.seen)} devflow {' '.join(arguments)}"
        self.seen |= {f"{name} → stdout": out, f"{name} → stderr": err}
        return out


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with EchoingUpstream().serve() as upstream, (tmp_path / "log").open("w") as written:
        log.configure("debug", "json", written)
        upstream.reply_text = f"Yes. {REPLY}"
        house = House(tmp_path, upstream)
        _write_session(house.home / ".claude" / "projects" / "-home-dev-demo")
        yield house


def _write_session(folder: Path) -> None:
    folder.mkdir(parents=True)
    own_key = KEYS["server's key"]
    script = TranscriptScript()
    script.prompt(f"{TEXTS['prompt in a session']} {TEXTS['key in a prompt']}")
    path = {"file_path": "/home/dev/demo/.env"}
    script.call("Write", {**path, "content": TEXTS["file in a session"]}, "ok")
    script.call("Bash", {"command": "env"}, f"KEY={own_key}", is_error=True)
    script.say("It is done.")
    rows = "".join(json.dumps(row) + "\n" for row in script.rows)
    (folder / f"{script.rows[0]['sessionId']}.jsonl").write_text(rows)


def _bodies(prompt: str) -> dict[str, dict[str, Any]]:
    """The same in every dialect: a system prompt, a tool that was called, and the prompt."""
    schema = {"type": "object", "properties": {TEXTS["schema"]: {"type": "string"}}}
    name, arguments = TEXTS["tool name"], {TEXTS["schema"]: TEXTS["tool argument"]}
    function = {"name": name, "parameters": schema}
    call = {"name": name, "arguments": json.dumps(arguments)}
    use = {"type": "tool_use", "id": "c1", "name": name, "input": arguments}
    result = {"type": "tool_result", "tool_use_id": "c1", "content": prompt}
    return {
        "/v1/chat/completions": {
            "messages": [
                {"role": "system", "content": TEXTS["system prompt"]},
                {"role": "user", "content": "go"},
                {
                    "role": "assistant",
                    "tool_calls": [{"id": "c1", "type": "function", "function": call}],
                },
                {"role": "tool", "tool_call_id": "c1", "content": prompt},
                {"role": "user", "content": prompt},
            ],
            "tools": [{"type": "function", "function": function}],
        },
        "/v1/messages": {
            "system": TEXTS["system prompt"],
            "messages": [
                {"role": "user", "content": "go"},
                {"role": "assistant", "content": [use]},
                {"role": "user", "content": [result, {"type": "text", "text": prompt}]},
            ],
            "tools": [{"name": name, "input_schema": schema}],
        },
        "/v1/responses": {
            "instructions": TEXTS["system prompt"],
            "input": [
                {"type": "function_call", "call_id": "c1", **call},
                {"type": "function_call_output", "call_id": "c1", "output": prompt},
                {"role": "user", "content": prompt},
            ],
            "tools": [{"type": "function", **function}],
        },
    }


@asynccontextmanager
async def _served(house: House) -> AsyncGenerator[httpx.AsyncClient]:
    """The gateway's own server, with a client key made for it."""
    async with (
        run_gateway(house.settings()) as running,
        httpx.AsyncClient(base_url=running.url, timeout=60, trust_env=False) as client,
    ):
        assert running.first_key is not None
        house.client_key = running.first_key
        client.headers["x-api-key"] = running.first_key
        yield client


async def _send(
    house: House, client: httpx.AsyncClient, path: str, body: object, **headers: str
) -> None:
    sent = {"user-agent": TEXTS["header"], "x-note": TEXTS["header"], **headers}
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    reply = await client.post(path, content=content, headers=sent)
    name = f"POST {path} number {len(house.seen)} → {reply.status_code}"
    house.seen[name] = f"{dict(reply.headers)}".encode() + reply.content


async def _drive_server(house: House, client: httpx.AsyncClient) -> None:
    """Every route that takes a text, well-formed and not, whole and streamed, with every key."""
    prompts = [text for name, text in TEXTS.items() if "prompt" in name or "question" in name]
    for prompt in prompts:
        for path, body in _bodies(prompt).items():
            for stream in (False, True):
                asked = {"model": "auto", "max_tokens": 9, "stream": stream, **body}
                await _send(house, client, path, asked)
    own = {"x-openrouter-key": KEYS["caller's key"], "x-devflow-project": KEYS["caller's key"]}
    for path, body in _bodies(TEXTS["prompt"]).items():
        named = {"model": "z-ai/glm-5", "max_tokens": 9, **body}
        await _send(house, client, path, named, **own)
        await _send(house, client, path, named, **{"x-api-key": KEYS["wrong client key"]})
        await _send(house, client, path, {**named, "model": "no/such-model"})
        await _send(house, client, path, {**named, "max_tokens": "x"})
        await _send(house, client, path, orjson.dumps(named)[:-9])
        await _send(house, client, path, named, **{"x-devflow-session": KEYS["server's key"]})
    await _send(
        house, client, "/v1/messages/count_tokens", _bodies(TEXTS["prompt"])["/v1/messages"]
    )
    for model in ("openai/text-embedding-3-small", KEYS["caller's key"]):
        embedded = {"model": model, "input": TEXTS["text to embed"]}
        await _send(house, client, "/v1/embeddings", embedded, **own)
    for path in ("/metrics", "/openrouter/status", "/system/nodes", f"/v1/{TEXTS['header']}"):
        reply = await client.get(path)
        house.seen[f"GET {path[:8]} → {reply.status_code}"] = reply.content


async def _drive_failures(house: House, client: httpx.AsyncClient) -> None:
    """A provider that repeats the key in its errors."""
    house.upstream.say = str
    for field_name in ("provider_name", "message", "error_type", "id"):
        house.upstream.place = f"error {field_name}"
        for path, body in _bodies(TEXTS["prompt"]).items():
            asked = {"model": "z-ai/glm-5", "max_tokens": 9, **body}
            await _send(house, client, path, asked, **{"x-openrouter-key": KEYS["caller's key"]})
    house.upstream.place = ""


def _drive_asking(house: House) -> None:
    """Every command that takes a text, or fails with an address that holds a password."""
    house.run_installed("ask", TEXTS["prompt"])
    house.run("ask", TEXTS["key in a prompt"], "--json", "--model", "z-ai/glm-5")
    house.run("explain", TEXTS["password in a prompt"])
    house.run("explain", TEXTS["token in a prompt"], "--json")
    of_project = ("--project", "/home/dev/demo")
    asked = ("handoff", "--to", "z-ai/glm-5", "--prompt", TEXTS["prompt"])
    assert house.run(*asked, *of_project)
    (named,) = [name for name in house.seen if "handoff" in name and name.endswith("stderr")]
    # which session is sent is said by its title, to whoever asked for it
    assert TEXTS["prompt in a session"].encode() in house.seen.pop(named)
    house.run("mcp", stdin=_mcp_calls())
    proxy, far = f"htp//u:{KEYS['password of a proxy']}@h", "https://nobody.invalid/api/v1"
    house.run_installed("ask", "hi", OPENROUTER_BASE_URL=far, DEVFLOW_PROXY_URL=proxy)
    house.run("ask", "hi", OPENROUTER_BASE_URL=f"ftp://u:{KEYS['password of a proxy']}@h")
    address = f"postgresql://u:{KEYS['password of a database']}@127.0.0.1:9/x"
    house.run("report", DEVFLOW_LEDGER_URL=address)
    house.run("ask", "hi", DEVFLOW_LEDGER_URL=address.replace("postgresql", "nosql"))


def _drive_showing(house: House) -> None:
    """Every command that shows what is kept."""
    for by, form in (("model", "html"), ("provider", "csv"), ("session", "json"), ("key", "table")):
        house.run("report", "--by", by, "--format", form)
    lines = house.run("ledger", "export").splitlines()
    house.run("explain", orjson.loads(lines[-1])["entry_id"])
    for arguments in ("ledger export --csv", "ledger verify", "whatif", "doctor", "keys status"):
        house.run(*arguments.split())
    session = "11111111-2222-4333-8444-555555555555"
    house.run("statusline", stdin=json.dumps({"session_id": session}).encode())


def _mcp_calls() -> bytes:
    calls = [
        ("explain", {"prompt": TEXTS["key in a prompt"]}),
        ("ask", {"prompt": TEXTS["prompt"], "model": "z-ai/glm-5"}),
        ("report", {"by": "provider"}),
    ]
    lines = [
        {"jsonrpc": "2.0", "id": number, "method": "tools/call",
         "params": {"name": name, "arguments": arguments}}
        for number, (name, arguments) in enumerate(calls)
    ]  # fmt: skip
    return b"".join(orjson.dumps(line) + b"\n" for line in lines)


def _check(house: House) -> dict[str, bytes]:
    """Raise AssertionError where a canary is in a file, a log, a trace or what was seen."""
    kept = read_places(house.home / ".local") | {
        "log": (house.home / "log").read_bytes(),
        "traces": b"".join(house.upstream.traces),
    }
    assert any(name.endswith("ledger.db") for name in kept)
    keys = {**KEYS, "client key": house.client_key} if house.client_key else KEYS
    places = {**kept, **house.seen}
    found = {name: find_canary(text, places) for name, text in {**TEXTS, **keys}.items()}
    found["reply"] = find_canary(REPLY, kept)
    assert {name: places for name, places in found.items() if places} == {}
    return kept


async def test_the_server_keeps_and_shows_no_canary(house: House) -> None:
    async with _served(house) as client:
        await _drive_failures(house, client)
        await _drive_server(house, client)
    await asyncio.to_thread(_drive_showing, house)
    kept = _check(house)
    assert b"gen_ai.request.model" in kept["traces"]
    (exported,) = [text for name, text in house.seen.items() if name.endswith("--csv → stdout")]
    assert b"z-ai/glm-5" in exported


def test_commands_keep_and_show_no_canary(house: House) -> None:
    _drive_asking(house)
    assert REPLY.encode() in house.seen["0 devflow ask qzPromptKanarie71w → stdout"]
    _check(house)


async def test_a_program_finds_no_canary_in_decisions_and_entries(house: House) -> None:
    async with wiring.open_gateway(house.settings()) as gateway:
        for text in TEXTS.values():
            completion = await gateway.complete(ChatRequest.from_text(text, system=text))
            decision = (completion.route.task.reasons, completion.entry)
            house.seen[f"decision of {completion.entry.entry_id}"] = repr(decision).encode()
    _check(house)


async def test_an_idempotency_key_keeps_the_reply_and_nothing_that_was_asked(house: House) -> None:
    async with _served(house) as client:
        for path, body in _bodies(TEXTS["prompt"]).items():
            asked = {"model": "z-ai/glm-5", "max_tokens": 9, **body}
            await _send(house, client, path, asked, **{"idempotency-key": f"key-of-{path}"})
    kept = read_places(house.home / ".local")
    assert [Path(one).stem for one in find_canary(REPLY, kept)][:1] == ["ledger"]
    for text in (*TEXTS.values(), *KEYS.values(), house.client_key):
        assert find_canary(text, kept) == []


def test_a_session_goes_out_without_the_keys_in_it(house: House) -> None:
    """What is asked for is shown (texts of a session), but no key, known or by its form."""
    of_project = ("--project", "/home/dev/demo")
    assert house.run("sessions", "list")
    assert house.run("sessions", "show", *of_project)
    shown = house.run("sessions", "context", *of_project)
    assert house.run("handoff", "--to", "z-ai/glm-5", "--json", *of_project)
    stdin = json.dumps(
        {"hook_event_name": "SessionStart", "source": "startup", "cwd": "/home/dev/demo"}
    )
    house.run("hook", stdin=stdin.encode())
    assert TEXTS["prompt in a session"].encode() in shown
    for secret in (KEYS["server's key"], TEXTS["key in a prompt"]):
        assert find_canary(secret, house.seen) == []
