"""The server and the ways to start it: connections, limits, processes, the pytest plugin."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from devflow_sandbox import Sandbox, serve
from devflow_sandbox.threaded import ThreadedSandbox


async def exchange(sandbox: Sandbox, *parts: bytes) -> bytes:
    """Send parts one after the other; everything that comes back until the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(sandbox.url.rsplit(":")[-1]))
    received = b""
    try:
        async with asyncio.timeout(60):
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0.01)
            while part := await reader.read(65536):
                received += part
    except ConnectionError:
        pass
    finally:
        writer.close()
    return received


async def test_requests_on_one_connection_are_answered_in_order() -> None:
    async with Sandbox() as sandbox:
        one = b"GET /api/v1/models/count HTTP/1.1\r\nHost: x\r\n\r\n"
        last = b"GET /nope HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        got = await exchange(sandbox, one + one, last)
    assert got.count(b"HTTP/1.1 200 OK") == 2
    assert got.rindex(b"404 Not Found") > got.rindex(b"200 OK")


@pytest.mark.parametrize("turns", range(5))
async def test_a_connection_accepted_at_the_end_is_closed(turns: int) -> None:
    """Nobody owned its socket, and a later test was blamed for it."""
    async with Sandbox() as sandbox:
        address = ("127.0.0.1", int(sandbox.url.rsplit(":")[-1]))
        with socket.create_connection(address), socket.create_connection(address):
            for _ in range(turns):
                await asyncio.sleep(0)
            await sandbox.__aexit__()
            await asyncio.sleep(0)
        gc.collect()  # an open socket without an owner is a ResourceWarning, and fails the test


async def test_request_may_come_in_pieces_and_chunks(chat_body: dict[str, Any]) -> None:
    async with Sandbox() as sandbox:
        body = orjson.dumps(chat_body)
        head = (
            "POST /api/v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            f"Authorization: Bearer {sandbox.api_key}\r\nExpect: 100-continue\r\n"
            "Transfer-Encoding: chunked\r\n\r\n"
        ).encode()
        chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        received = await exchange(sandbox, head[:30], head[30:], chunk[:20], chunk[20:])
    assert received.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x02\x00", b"NONSENSE\r\n\r\n", b"GET\r\n\r\n"])
async def test_bytes_that_are_not_http_are_refused(garbage: bytes) -> None:
    async with Sandbox() as sandbox:
        assert (await exchange(sandbox, garbage)).startswith(b"HTTP/1.1 400 Bad Request")


async def test_upgrades_and_heads() -> None:
    async with Sandbox() as sandbox:
        upgrade = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
        head = b"HEAD /api/v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        assert b" 400 " in await exchange(sandbox, upgrade)
        received = await exchange(sandbox, head)
    assert received.startswith(b"HTTP/1.1 200 OK")
    assert received.endswith(b"\r\n\r\n")
    assert received.count(b"\r\n\r\n") == 1


async def test_bodies_over_the_limit_are_refused() -> None:
    async with Sandbox() as sandbox, httpx.AsyncClient(timeout=60) as http:
        reply = await http.post(
            f"{sandbox.base_url}/chat/completions", content=bytes(65 * 1024 * 1024)
        )
    assert reply.status_code == 413


async def test_slow_reader_gets_all_of_a_paced_stream(chat_body: dict[str, Any]) -> None:
    async with (
        Sandbox(tokens_per_s=100_000, ttft_s=0.01) as sandbox,
        httpx.AsyncClient(
            headers={"authorization": f"Bearer {sandbox.api_key}"}, timeout=60
        ) as http,
        http.stream(
            "POST", f"{sandbox.base_url}/chat/completions", json={**chat_body, "stream": True}
        ) as reply,
    ):
        text = "".join([part async for part in reply.aiter_text()])
    assert text.endswith("data: [DONE]\n\n")
    assert sandbox.bill()["calls"][0]["outcome"] == "completed"


async def test_client_that_leaves_a_paced_stream_is_booked_as_cancelled(
    chat_body: dict[str, Any], eventually: Any
) -> None:
    async with (
        Sandbox(tokens_per_s=5) as sandbox,
        httpx.AsyncClient(
            headers={"authorization": f"Bearer {sandbox.api_key}"}, timeout=60
        ) as http,
    ):
        url = f"{sandbox.base_url}/chat/completions"
        async with http.stream("POST", url, json={**chat_body, "stream": True}) as reply:
            async for part in reply.aiter_bytes():
                if b'"content":"' in part:
                    break
        await eventually(lambda: sandbox.bill()["running"] == 0)
        (call,) = sandbox.bill()["calls"]
    assert call["outcome"] == "cancelled"
    assert sandbox.state.account.in_flight_usd == 0


async def test_closing_ends_every_connection(chat_body: dict[str, Any], eventually: Any) -> None:
    stall = {"faults": [{"then": {"kind": "stall", "at": {"event": 1}}}]}
    sandbox = Sandbox(faults=stall)
    async with httpx.AsyncClient(timeout=60) as http:
        async with sandbox:
            headers = {"authorization": f"Bearer {sandbox.api_key}"}
            url = f"{sandbox.base_url}/chat/completions"
            sending = asyncio.ensure_future(
                http.post(url, json={**chat_body, "stream": True}, headers=headers)
            )
            await eventually(lambda: sandbox.bill()["running"] == 1)
        with pytest.raises(httpx.TransportError):
            await sending
    assert sandbox.bill()["running"] == 0


async def test_in_process_transport_raises_what_httpx_would(chat_body: dict[str, Any]) -> None:
    cases: dict[type[Exception], dict[str, Any]] = {
        httpx.ConnectError: {"kind": "refuse"},
        httpx.ReadError: {"kind": "drop"},
        httpx.RemoteProtocolError: {"kind": "raw", "preset": "ssh_banner"},
    }
    for error, then in cases.items():
        sandbox = Sandbox(faults={"faults": [{"then": then}]})
        headers = {"authorization": f"Bearer {sandbox.api_key}"}
        async with httpx.AsyncClient(transport=sandbox.transport(), headers=headers) as http:
            with pytest.raises(error):
                await http.post("http://x/api/v1/chat/completions", json=chat_body)
        assert sandbox.bill()["calls"][0]["outcome"] == "cut"


async def test_in_process_transport_waits_too(chat_body: dict[str, Any], loop_clock: Any) -> None:
    then = {"kind": "slow", "head_s": 0.02, "dribble_s": 0.0001, "ttft_s": 0.02}
    sandbox = Sandbox(faults={"faults": [{"then": then}]})
    headers = {"authorization": f"Bearer {sandbox.api_key}"}
    async with httpx.AsyncClient(transport=sandbox.transport(), headers=headers) as http:
        asking = asyncio.ensure_future(
            http.post("http://x/api/v1/chat/completions", json=chat_body)
        )
        assert await loop_clock.run_until(asking.done, step_s=0.01) > 0.05
        await asking


async def test_serve_announces_and_runs_until_cancelled() -> None:
    announced: asyncio.Queue[str] = asyncio.Queue()
    server = asyncio.ensure_future(serve(Sandbox(), lambda one: announced.put_nowait(one.base_url)))
    url = await announced.get()
    async with httpx.AsyncClient(timeout=60) as http:
        assert (await http.get(f"{url}/models/count")).status_code == 200
    server.cancel()
    with pytest.raises(asyncio.CancelledError):
        await server


def test_thread_that_cannot_listen_says_so() -> None:
    with socket.socket() as occupied:
        occupied.bind(("127.0.0.1", 0))
        occupied.listen()
        port = occupied.getsockname()[1]
        with pytest.raises(OSError, match="address already in use"), ThreadedSandbox(port=port):
            pass


def test_own_process_prints_its_address_and_ends_on_sigterm() -> None:
    command = [sys.executable, "-m", "devflow_sandbox", "--seed", "7", "--tokens-per-s", "1000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        announcement = orjson.loads(child.stdout.readline())
        reply = httpx.get(
            f"{announcement['base_url']}/key",
            headers={"authorization": f"Bearer {announcement['api_key']}"},
            timeout=60,
        )
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 0
    assert reply.status_code == 200
    assert announcement["api_key"] == Sandbox(seed=7).api_key


def test_own_process_refuses_a_wrong_script_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    path.write_text('{"faults": [\n{"then": {"kind": "dorp"}}]}')
    command = [sys.executable, "-m", "devflow_sandbox", "--faults", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 3
    assert f"{path}, line 2: " in result.stderr


def test_plugin_gives_every_test_a_separate_sandbox(
    openrouter_sandbox: ThreadedSandbox,
) -> None:
    headers = {"authorization": f"Bearer {openrouter_sandbox.api_key}"}
    reply = httpx.get(f"{openrouter_sandbox.base_url}/key", headers=headers, timeout=60)
    assert reply.json()["data"]["usage"] == 0


def test_plugin_costs_nothing_when_it_is_not_used() -> None:
    code = (
        "import sys, devflow_sandbox.pytest_plugin\n"
        "print([one for one in ('httpx', 'pydantic', 'devflow_core') if one in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_package_has_no_other_names() -> None:
    import devflow_sandbox

    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = devflow_sandbox.nothing
