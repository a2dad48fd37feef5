"""Runs a gateway between a client on a socket and an upstream that plays scripts."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
from devflow_core.settings import Settings
from devflow_core.wire import DIALECTS
from devflow_openrouter.testing import SSE_HEAD, UpstreamStep, chunked_body, http_reply
from devflow_server.serving import run_gateway
from dialect_samples import samples_of

WIRE_SAMPLES = Path(__file__).parents[2] / "packages" / "core" / "tests" / "samples" / "wire"
MODEL, OTHER = "openai/gpt-5-mini", "anthropic/claude-haiku-4.5"
PATHS = {name: f"/v1{dialect.path}" for name, dialect in DIALECTS.items()}
Script = Sequence[UpstreamStep]


def ask(wire: str, *, stream: bool, **fields: Any) -> tuple[str, dict[str, Any]]:
    """Return path and body of a small request."""
    return PATHS[wire], {"model": MODEL, "stream": stream, **samples_of(wire).asks, **fields}


def streamed(*pieces: bytes) -> Script:
    """Return the script of a complete streamed reply."""
    return (SSE_HEAD + chunked_body(*pieces),)


def failed(body: bytes, status: int, content_type: str = "application/json", **headers: str):
    """Return the script of a failed reply; a header `retry_after` is sent as `retry-after`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return (http_reply(body, status, content_type, named),)


def sample(name: str) -> bytes:
    """Return a raw body from the samples."""
    return (WIRE_SAMPLES / name).read_bytes()


class Upstream:
    """An upstream that plays one script per POST, repeating the last; every GET is a 404."""

    def __init__(self) -> None:
        self.port = 0
        self.scripts: list[Script] = []
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []

    @property
    def models(self) -> list[str]:
        """The requested models, in order."""
        return [body["model"] for body in self.bodies]

    @asynccontextmanager
    async def serve(self) -> AsyncGenerator[Upstream]:
        """Serve on a free loopback port until the block ends."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"GET "):
                    writer.write(http_reply(b'{"error":{"message":"none","code":404}}', 404))
                    continue
                length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
                body = await reader.readexactly(int(length[1]) if length else 0)
                self.paths.append(head.split(b" ", 2)[1].decode())
                self.bodies.append(orjson.loads(body))
                script = self.scripts[min(len(self.bodies), len(self.scripts)) - 1]
                if not await self._play(script, writer):
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    async def _play(self, script: Script, writer: asyncio.StreamWriter) -> bool:
        for step in script:
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
            elif isinstance(step, float):
                await asyncio.sleep(step)
            else:
                if step == "reset":
                    writer.transport.abort()
                return False
        return True


@dataclass(frozen=True, kw_only=True)
class Door:
    """A running gateway with its upstream and its client."""

    client: httpx.AsyncClient
    url: str
    upstream: Upstream
    settings: Settings

    async def send(self, wire: str, *, stream: bool, **fields: Any) -> httpx.Response:
        """Send one request, optionally `below` a path."""
        headers, below = fields.pop("headers", None), fields.pop("below", "")
        path, body = ask(wire, stream=stream, **fields)
        return await self.client.post(path + below, json=body, headers=headers)


@asynccontextmanager
async def open_door(folder: Path, *scripts: Script, **settings: Any) -> AsyncGenerator[Door]:
    """Run a gateway with one key, whose upstream plays these scripts."""
    async with Upstream().serve() as upstream:
        upstream.scripts = list(scripts)
        given: dict[str, Any] = {
            "base_url": f"http://127.0.0.1:{upstream.port}/api/v1",
            "api_key": "sk-or-v1-test",
            "require_key": False,
            "port": 0,
            "data_dir": folder,
            "cache": False,
            **settings,
        }
        chosen = Settings.load({}, **given)
        async with (
            run_gateway(chosen) as running,
            httpx.AsyncClient(base_url=running.url, timeout=60, trust_env=False) as client,
        ):
            yield Door(client=client, url=running.url, upstream=upstream, settings=chosen)
