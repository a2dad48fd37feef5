"""The gateway as processes: workers that share one ledger, an end in good order, no secret left."""

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from devflow_sandbox import Sandbox
from devflow_store import Store

CHILD = Path(__file__).with_name("serve_child.py")
CHAT = {
    "model": "anthropic/claude-haiku-4.5",
    "messages": [{"role": "user", "content": "hello"}],
    "max_tokens": 64,
}
CANARY = "sk-or-v1-CANARY0123456789abcdef"
Start = Callable[..., tuple[subprocess.Popen[bytes], dict[str, Any]]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    children: list[subprocess.Popen[bytes]] = []

    def start(**settings: Any) -> tuple[subprocess.Popen[bytes], dict[str, Any]]:
        given = {"port": 0, "require_key": False, "data_dir": str(tmp_path), **settings}
        with (tmp_path / "stderr").open("wb") as errors:
            child = subprocess.Popen(
                [sys.executable, str(CHILD)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        children.append(child)
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(orjson.dumps(given) + b"\n")
        child.stdin.close()
        line = child.stdout.readline()
        assert line, (tmp_path / "stderr").read_text()
        return child, orjson.loads(line)

    yield start
    for child in children:
        if child.poll() is None:
            child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def read_all(folder: Path, pattern: str) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.glob(pattern) if path.is_file()}


async def _until_ready(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(httpx.TransportError):
                if (await client.get("/readyz")).status_code == 200:
                    return
            await asyncio.sleep(0.1)


async def test_workers_share_ledger_and_idempotency(start: Start, tmp_path: Path) -> None:
    keys, repeats = 20, 5
    async with Sandbox() as sandbox:
        child, ready = start(base_url=sandbox.base_url, api_key=sandbox.api_key, workers=2)
        limits = httpx.Limits(max_connections=40, max_keepalive_connections=0)
        async with httpx.AsyncClient(
            base_url=ready["url"], timeout=60, limits=limits, trust_env=False
        ) as client:
            await _until_ready(client)
            replies = await asyncio.gather(
                *[
                    client.post(
                        "/v1/chat/completions",
                        json=CHAT,
                        headers={"idempotency-key": f"k-{number % keys}"},
                    )
                    for number in range(keys * repeats)
                ]
            )
        child.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(child.wait, 60) == 0
        bill = sandbox.bill()
    assert {reply.status_code for reply in replies} == {200}
    assert len({reply.json()["id"] for reply in replies}) == keys
    assert len(bill["calls"]) == keys
    store = Store(tmp_path / "ledger.db")
    entries = list(store.entries())
    assert len(entries) == keys
    assert sum(entry.cost_usd for entry in entries) == sum(
        type(entries[0].cost_usd)(str(call["cost_usd"])) for call in bill["calls"]
    )
    assert store.verify().ok


async def test_a_stream_under_way_ends_before_the_process_does(
    start: Start, tmp_path: Path
) -> None:
    async with Sandbox(tokens_per_s=40) as sandbox:
        child, ready = start(base_url=sandbox.base_url, api_key=sandbox.api_key)
        async with httpx.AsyncClient(base_url=ready["url"], timeout=60, trust_env=False) as client:
            body = {**CHAT, "stream": True}
            async with client.stream("POST", "/v1/chat/completions", json=body) as reply:
                received = b""
                async for piece in reply.aiter_raw():
                    if not received:
                        child.send_signal(signal.SIGTERM)
                    received += piece
            with pytest.raises(httpx.TransportError):
                await client.get("/healthz")
        assert await asyncio.to_thread(child.wait, 60) == 0
    assert received.rstrip().endswith(b"data: [DONE]")
    (entry,) = Store(tmp_path / "ledger.db").entries()
    assert entry.outcome == "succeeded"


async def test_fifty_streams_under_way_end_whole_after_the_signal(
    start: Start, tmp_path: Path
) -> None:
    streams = 50
    async with Sandbox(tokens_per_s=30) as sandbox:
        child, ready = start(base_url=sandbox.base_url, api_key=sandbox.api_key)
        async with _many(ready["url"], streams) as client:
            begun = asyncio.Semaphore(0)
            readers = [asyncio.create_task(_read(client, begun)) for _ in range(streams)]
            for _ in range(streams):
                await begun.acquire()
            child.send_signal(signal.SIGTERM)
            received = await asyncio.gather(*readers)
        assert await asyncio.to_thread(child.wait, 60) == 0
        bill = sandbox.bill()
    assert all(one.rstrip().endswith(b"data: [DONE]") for one in received)
    store = Store(tmp_path / "ledger.db")
    entries = list(store.entries())
    assert [entry.outcome for entry in entries] == ["succeeded"] * streams
    assert sum(entry.cost_usd for entry in entries) == sum(
        type(entries[0].cost_usd)(str(call["cost_usd"])) for call in bill["calls"]
    )
    assert store.verify().ok


async def test_two_hundred_streams_dropped_at_once_are_closed_upstream_and_booked(
    start: Start, tmp_path: Path
) -> None:
    streams = 200
    async with Sandbox(tokens_per_s=0.2) as sandbox:  # none ends before all have begun
        child, ready = start(
            base_url=sandbox.base_url, api_key=sandbox.api_key, max_concurrency=streams
        )
        async with _many(ready["url"], streams) as client:
            begun = asyncio.Semaphore(0)
            readers = [asyncio.create_task(_read(client, begun)) for _ in range(streams)]
            await _all_begun(begun, readers)
            for reader in readers:
                reader.cancel()
            ends = await asyncio.gather(*readers, return_exceptions=True)
        store = Store(tmp_path / "ledger.db")
        async with asyncio.timeout(60):
            while len(list(store.entries())) < streams:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.2)
        child.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(child.wait, 60) == 0
    assert all(isinstance(end, asyncio.CancelledError) for end in ends)
    entries = list(store.entries())
    assert [entry.outcome for entry in entries] == ["cancelled"] * streams
    assert all(entry.final_attempt and entry.final_attempt.generation_id for entry in entries)
    assert store.verify().ok


async def _all_begun(begun: asyncio.Semaphore, readers: list[asyncio.Task[bytes]]) -> None:
    """Wait until every stream has begun; a reader that fails or ends before fails the test."""
    ended = asyncio.create_task(asyncio.wait(readers, return_when=asyncio.FIRST_COMPLETED))
    for _ in readers:
        acquiring = asyncio.create_task(begun.acquire())
        await asyncio.wait((acquiring, ended), return_when=asyncio.FIRST_COMPLETED)
        assert not ended.done(), [one for one in readers if one.done()]
    ended.cancel()


def _many(url: str, connections: int) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=connections)
    return httpx.AsyncClient(base_url=url, timeout=60, limits=limits, trust_env=False)


async def _read(client: httpx.AsyncClient, begun: asyncio.Semaphore) -> bytes:
    """A whole stream; says when it has begun."""
    received = b""
    body = {**CHAT, "stream": True}
    async with client.stream("POST", "/v1/chat/completions", json=body) as reply:
        async for piece in reply.aiter_raw():
            if not received:
                begun.release()
            received += piece
    return received


async def test_no_secret_is_left_anywhere(start: Start, tmp_path: Path) -> None:
    """A provider's key, a client key and a prompt, through successes, refusals and nonsense."""
    prompt = "CANARY-PROMPT-0123456789"
    said: list[str] = []
    async with Sandbox() as sandbox:
        child, ready = start(
            base_url=sandbox.base_url,
            api_key=CANARY,
            require_key=True,
            log_level="debug",
            log_format="json",
        )
        secret = ready["first_key"]
        assert secret
        ways: list[tuple[str, str, dict[str, str], Any]] = [
            ("POST", "/v1/chat/completions", {"authorization": f"Bearer {secret}"}, CHAT),
            ("POST", "/v1/messages", {"x-api-key": secret}, {**CHAT, "stream": True}),
            ("POST", "/v1/responses", {"x-api-key": secret}, {"model": "auto", "input": prompt}),
            ("POST", "/v1/chat/completions", {"x-api-key": secret + "x"}, CHAT),
            ("POST", "/v1/chat/completions", {"x-api-key": secret}, {"model": prompt}),
            ("GET", "/metrics", {"x-api-key": secret}, None),
            ("GET", "/openrouter/status", {"x-api-key": secret}, None),
            ("GET", f"/v1/models/{prompt}", {"x-api-key": secret}, None),
            ("GET", f"/{prompt}", {"x-api-key": secret}, None),
        ]
        own = {"x-openrouter-key": CANARY + "-of-the-caller", "x-api-key": secret}
        ways.append(("POST", "/v1/chat/completions", own, CHAT))
        async with httpx.AsyncClient(base_url=ready["url"], timeout=60, trust_env=False) as client:
            for method, path, headers, body in ways:
                asked = body
                if body and "messages" in body:
                    asked = {**body, "messages": [{"role": "user", "content": prompt}]}
                reply = await client.request(method, path, headers=headers, json=asked)
                said.append(f"{reply.headers}{reply.text}" if prompt not in path else "")
        command_line = read_all(Path(f"/proc/{child.pid}"), "cmdline")
        child.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(child.wait, 60) == 0
    places = {**read_all(tmp_path, "**/*"), **command_line}
    places[Path("replies")] = "".join(said).encode()
    for canary in (CANARY, secret, prompt):
        found = [str(path) for path, content in places.items() if canary[-12:].encode() in content]
        assert found == [], canary
