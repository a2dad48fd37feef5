"""A key that a provider repeats, in any field and any encoding, reaches nobody and no file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from devflow_cli.testing import run_command
from devflow_core import log
from devflow_core.settings import Settings
from devflow_server import run_gateway
from integration.canary_search import encodings_of, find_canary, read_places
from integration.echoing_upstream import EchoingUpstream

SERVER_KEY = "sk-or-v1-0123456789abcdefCANARY0123456789abcdefSERVER0123456789abcdef"
USER_KEY = "plainKeyOfTheCaller-Without.APrefix_42"

DIALECTS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "hi"}]},
    "/v1/messages": {"messages": [{"role": "user", "content": "hi"}]},
    "/v1/responses": {"input": "hi"},
}
ERROR_FIELDS = (
    "message", "raw", "provider_name", "error_type", "limit_source", "code", "type",
    "availability", "id", "header", "text", "page", "no stream",
)  # fmt: skip
PLACES = (
    *(f"error {field}" for field in ERROR_FIELDS),
    *(f"broken {field}" for field in ("message", "raw", "provider_name", "error_type")),
    *(f"reply {field}" for field in ("id", "model", "provider")),
    "header",
)


@dataclass(frozen=True)
class Door:
    """A running gateway over the provider, and where it keeps its files."""

    client: httpx.AsyncClient
    upstream: EchoingUpstream
    folder: Path

    async def ask(self, path: str, body: dict[str, Any], key: str | None) -> bytes:
        """Everything that comes back: headers and body."""
        headers = {} if key is None else {"x-openrouter-key": key}
        asked = {"model": "z-ai/glm-5", "max_tokens": 20, **body}
        reply = await self.client.post(path, json=asked, headers=headers)
        return f"{reply.status_code} {dict(reply.headers)} ".encode() + reply.content


@asynccontextmanager
async def open_door(folder: Path) -> AsyncGenerator[Door]:
    with EchoingUpstream().serve() as upstream, (folder.parent / "log").open("w") as written:
        log.configure("debug", "json", written)
        settings = Settings.load(
            {},
            base_url=upstream.base_url,
            api_key=SERVER_KEY,
            data_dir=folder,
            require_key=False,
            port=0,
            cache=False,
            max_retries=1,
        )
        async with (
            run_gateway(settings) as running,
            httpx.AsyncClient(base_url=running.url, timeout=60, trust_env=False) as client,
        ):
            yield Door(client, upstream, folder)


def run_devflow(folder: Path, *arguments: str) -> bytes:
    environ = {
        "HOME": str(folder), "PATH": os.environ["PATH"], "DEVFLOW_DATA_DIR": str(folder / "d"),
        "NO_COLOR": "1",
    }  # fmt: skip
    done = run_command(*arguments, folder=folder, environment=environ)
    return (done.out + done.err).encode()


@pytest.mark.parametrize("key", [None, USER_KEY], ids=["server's key", "caller's key"])
async def test_an_echoed_key_is_masked_in_every_reply_and_every_record(
    tmp_path: Path, key: str | None
) -> None:
    secret = key or SERVER_KEY
    found: list[str] = []
    async with open_door(tmp_path / "d") as door:
        for encoding in encodings_of(secret):
            door.upstream.say = lambda key, name=encoding: encodings_of(key)[name]
            for place, path, stream in _ways(encoding):
                door.upstream.place = place
                seen = await door.ask(path, {**DIALECTS[path], "stream": stream}, key)
                leaked = find_canary(secret, {"reply": seen})
                found += [f"{place} in {encoding} at {path}, stream={stream}"] if leaked else []
        assert door.upstream.keys[-1] == secret
    shown = {
        " ".join(one): await asyncio.to_thread(run_devflow, tmp_path, *one)
        for one in (
            ("ledger", "export"), ("ledger", "export", "--csv"), ("report", "--by", "provider"),
            ("report", "--by", "model", "--format", "html"), ("report", "--format", "csv"),
        )
    }  # fmt: skip
    assert b"z-ai/glm-5" in shown["ledger export --csv"]
    assert found == []
    assert find_canary(secret, {**read_places(tmp_path), **shown}) == []


def _ways(encoding: str) -> Iterator[tuple[str, str, bool]]:
    """Every place at every dialect for the plain key; for other encodings each place once."""
    paths = list(DIALECTS)
    for number, place in enumerate(PLACES):
        if encoding == "plain":
            yield from ((place, path, stream) for path in paths for stream in (False, True))
        else:
            yield place, paths[number % 3], number % 2 == 0


async def test_embeddings_say_nothing_of_the_key(tmp_path: Path) -> None:
    async with open_door(tmp_path / "d") as door:
        for place in PLACES:
            if place.startswith("broken"):
                continue
            door.upstream.place, door.upstream.say = place, str
            seen = await door.ask("/v1/embeddings", {"input": "hi"}, None)
            assert find_canary(SERVER_KEY, {place: seen}) == []
    assert find_canary(SERVER_KEY, read_places(tmp_path)) == []


async def test_a_reply_that_had_to_be_rewritten_is_whole(tmp_path: Path) -> None:
    async with open_door(tmp_path / "d") as door:
        door.upstream.place, door.upstream.say = "reply provider", "P{}".format
        for path, body in DIALECTS.items():
            for stream in (False, True):
                seen = await door.ask(path, {**body, "stream": stream}, None)
                assert b"A short answer." in seen
                assert b"[masked key in use]" in seen
        assert door.upstream.keys


async def test_a_model_may_write_a_key_that_the_caller_works_with(tmp_path: Path) -> None:
    """The content of a reply is the caller's: a masked key in a file would be a broken file."""
    async with open_door(tmp_path / "d") as door:
        door.upstream.reply_text = f"OPENROUTER_API_KEY={SERVER_KEY}"
        for path, body in DIALECTS.items():
            for stream in (False, True):
                seen = await door.ask(path, {**body, "stream": stream}, None)
                assert SERVER_KEY.encode() in seen
    assert find_canary(SERVER_KEY, read_places(tmp_path)) == []


async def test_names_from_a_provider_are_short_and_plain_in_the_ledger(tmp_path: Path) -> None:
    async with open_door(tmp_path / "d") as door:
        said = "Acme\x1b[2J\r\n=1+1\u202e<script>" + "x" * 500
        door.upstream.say = lambda _key: said
        for place in ("reply provider", "error provider_name", "error error_type", "error id"):
            door.upstream.place = place
            await door.ask("/v1/chat/completions", DIALECTS["/v1/chat/completions"], None)
    lines = (await asyncio.to_thread(run_devflow, tmp_path, "ledger", "export")).splitlines()
    attempts = [orjson.loads(line)["attempts"][0] for line in lines]
    names = [one[name] for one in attempts for name in ("provider", "generation_id") if one[name]]
    assert any(name.startswith("Acme") for name in names)
    assert all(len(name) <= 200 for name in names)
    assert not any(char in name for name in names for char in "\x1b\r\n\u202e<>")
