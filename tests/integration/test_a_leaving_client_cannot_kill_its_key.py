"""An idempotency key is carried out once, whenever its client leaves and whatever is killed."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from devflow_sandbox.threaded import ThreadedSandbox
from devflow_store import Store
from integration.served import (
    PATIENCE_S,
    Reply,
    Served,
    read_reply,
    send_what_is_taken,
    serve,
    start,
)
from integration.upstream_door import PATHS, ask

ROOT = Path(__file__).parents[2]
CASES = [(wire, stream) for wire in PATHS for stream in (False, True)]
LEAVES_PER_CASE = 10
PING_S = 4.0
CHANCE = random.Random(14)  # noqa: S311 - when a client leaves
# the list of models may still be fetched, and its questions are no calls
NEVER_ANSWERED = {
    "faults": [{"when": {"method": "POST", "times": 1}, "then": {"kind": "slow", "head_s": 600}}]
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[ThreadedSandbox]:
    with ThreadedSandbox(ttft_s=0.05, tokens_per_s=200) as running:
        yield running


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, sandbox: ThreadedSandbox) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("home"), "--no-key", **environment(sandbox)) as running:
        yield running


def environment(sandbox: ThreadedSandbox) -> dict[str, str]:
    return {"OPENROUTER_BASE_URL": sandbox.base_url, "OPENROUTER_API_KEY": sandbox.api_key}


def keyed(served: Served, key: str, wire: str, *, stream: bool) -> tuple[bytes, bytes]:
    """Head and body of a request under a key."""
    path, fields = ask(wire, stream=stream)
    body = json.dumps(fields).encode()
    headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    return served.head("POST", path, headers, len(body)), body


def send(served: Served, key: str, wire: str, *, stream: bool) -> Reply:
    """Ask under a key, and stay."""
    with served.connect() as one:
        send_what_is_taken(one, b"".join(keyed(served, key, wire, stream=stream)))
        return read_reply(one)


def without_pings(reply: Reply) -> bytes:
    """The body of a reply, whichever way it was framed."""
    body = reply.body
    if reply.headers.get("transfer-encoding") == "chunked":
        pieces: list[bytes] = []
        while body:
            size, _, rest = body.partition(b"\r\n")
            pieces.append(rest[: int(size, 16)])
            body = rest[int(size, 16) + 2 :]
        body = b"".join(pieces)
    for ping in (
        b'event: ping\ndata: {"type": "ping"}\n\n',
        b": devflow is waiting for the provider\n\n",
    ):
        body = body.replace(ping, b"")
    return body


def count_calls(sandbox: ThreadedSandbox) -> int:
    return len(sandbox.bill()["calls"])


def check_carried_out_once(
    served: Served, sandbox: ThreadedSandbox, before: int, keys: list[str], case: tuple[str, bool]
) -> None:
    """Whoever asks for these keys now gets a whole reply, always the same; one call for each."""
    wire, stream = case
    for key in keys:
        first = send(served, key, wire, stream=stream)
        assert first.status == 200, first.body
        again = send(served, key, wire, stream=stream)
        assert again.headers["idempotent-replayed"] == "true"
        assert without_pings(again) == without_pings(first)
    assert count_calls(sandbox) - before == len(keys)


def leave_at_once(served: Served, one: socket.socket, request: tuple[bytes, bytes]) -> None:
    send_what_is_taken(one, b"".join(request))
    time.sleep(CHANCE.uniform(0, 0.025))


def leave_in_the_body(served: Served, one: socket.socket, request: tuple[bytes, bytes]) -> None:
    head, body = request
    send_what_is_taken(one, head + body[: CHANCE.randrange(len(body))])


def leave_with_the_last_byte(
    served: Served, one: socket.socket, request: tuple[bytes, bytes]
) -> None:
    send_what_is_taken(one, b"".join(request))


def leave_in_the_reply(served: Served, one: socket.socket, request: tuple[bytes, bytes]) -> None:
    send_what_is_taken(one, b"".join(request))
    one.settimeout(PATIENCE_S)
    assert one.recv(CHANCE.randrange(1, 1_000))


Leave = Callable[[Served, socket.socket, tuple[bytes, bytes]], None]


@pytest.mark.parametrize(
    "leave", [leave_at_once, leave_in_the_body, leave_with_the_last_byte, leave_in_the_reply]
)
@pytest.mark.parametrize("case", CASES)
def test_whoever_asks_again_gets_the_reply_of_one_call(
    served: Served, sandbox: ThreadedSandbox, case: tuple[str, bool], leave: Leave
) -> None:
    wire, stream = case
    before = count_calls(sandbox)
    keys = [f"{leave.__name__}-{wire}-{stream}-{number}" for number in range(LEAVES_PER_CASE)]
    for key in keys:
        with served.connect() as one:
            leave(served, one, keyed(served, key, wire, stream=stream))
    check_carried_out_once(served, sandbox, before, keys, case)


def test_a_stream_that_is_left_among_pings_is_kept_whole(tmp_path: Path) -> None:
    with (
        ThreadedSandbox(ttft_s=PING_S * 1.5) as sandbox,
        serve(tmp_path, "--no-key", **environment(sandbox)) as served,
    ):
        keys = {f"key-{wire}": wire for wire in PATHS}
        left = [served.connect() for _ in keys]
        for one, (key, wire) in zip(left, keys.items(), strict=True):
            send_what_is_taken(one, b"".join(keyed(served, key, wire, stream=True)))
        for one in left:
            one.settimeout(PATIENCE_S)
            assert b"text/event-stream" in one.recv(4096)  # begun by a ping
            one.close()
        for key, wire in keys.items():
            check_same_twice(served, key, wire)
        assert count_calls(sandbox) == len(keys)


def check_same_twice(served: Served, key: str, wire: str) -> None:
    replies = [send(served, key, wire, stream=True) for _ in range(2)]
    assert [one.status for one in replies] == [200, 200]
    assert without_pings(replies[0]) == without_pings(replies[1])


# after kill -9


@contextmanager
def killed_at_the_end(home: Path, sandbox: ThreadedSandbox, **more: str) -> Generator[Served]:
    """A gateway that dies without warning."""
    with start(home, "--no-key", **environment(sandbox), **more) as child:
        port = int(child.wait_for_document()["url"].rpartition(":")[2])
        yield Served(child.pid, port, None, home)
        os.kill(child.pid, signal.SIGKILL)
        child.wait(PATIENCE_S)


@pytest.mark.parametrize("case", CASES)
async def test_every_state_of_a_key_is_definite_after_a_kill(
    tmp_path: Path, eventually: Any, case: tuple[str, bool]
) -> None:
    wire, stream = case
    with ThreadedSandbox() as sandbox:
        with killed_at_the_end(tmp_path, sandbox, DEVFLOW_MAX_CONCURRENCY="1") as served:
            answered = send(served, "answered", wire, stream=stream)
            sandbox.set_faults(NEVER_ANSWERED)
            with served.connect() as first, served.connect() as second:
                send_what_is_taken(first, b"".join(keyed(served, "in-flight", wire, stream=stream)))
                await eventually(lambda: count_calls(sandbox) == 2)
                # one call at a time: this one waits for its turn, and nothing of it is sent
                send_what_is_taken(second, b"".join(keyed(served, "not-sent", wire, stream=stream)))
                await eventually(lambda: count_claims(tmp_path) == 3)
        sandbox.set_faults(None)
        with serve(tmp_path, "--no-key", **environment(sandbox)) as served:
            again = send(served, "answered", wire, stream=stream)
            assert without_pings(again) == without_pings(answered)
            check_unknown(served, wire, stream=stream)
            assert send(served, "not-sent", wire, stream=stream).status == 200
            assert count_calls(sandbox) == 3


def count_claims(home: Path) -> int:
    """How many keys are claimed; it cannot be seen at the door."""
    store = Store(home / ".local" / "share" / "devflow" / "sandbox" / "ledger.db")
    with store._open_reader() as session:
        ((found,),) = session.execute("SELECT count(*) FROM idempotency")
    return found


def check_unknown(served: Served, wire: str, *, stream: bool) -> None:
    """A key whose call was killed in flight: a definite refusal that names the ledger's entry."""
    first = send(served, "in-flight", wire, stream=stream)
    assert first.status == 409
    assert first.headers["x-should-retry"] == "false"
    entry_id = first.headers["x-devflow-request-id"]
    assert entry_id in first.error
    assert "another key" in first.error
    exported = served.devflow("ledger", "export").out
    (entry,) = [
        one for one in map(json.loads, exported.splitlines()) if one["entry_id"] == entry_id
    ]
    assert entry["error_code"] == "process_lost"
    again = send(served, "in-flight", wire, stream=stream)
    assert (again.status, again.body) == (409, first.body)


async def test_a_drain_lets_the_calls_of_clients_that_have_left_end(
    tmp_path: Path, eventually: Any
) -> None:
    with ThreadedSandbox(ttft_s=2.0) as sandbox:
        with (
            serve(tmp_path, "--no-key", **environment(sandbox)) as served,
            served.connect() as one,
        ):
            send_what_is_taken(one, b"".join(keyed(served, "left", "openai_chat", stream=False)))
            await eventually(lambda: count_calls(sandbox) == 1)
        with serve(tmp_path, "--no-key", **environment(sandbox)) as served:
            reply = send(served, "left", "openai_chat", stream=False)
            assert reply.status == 200
            assert reply.headers["idempotent-replayed"] == "true"
        assert count_calls(sandbox) == 1


def test_many_clients_that_leave_and_a_worker_that_is_killed(tmp_path: Path) -> None:
    told = tmp_path / "told.json"
    done = subprocess.run(
        [sys.executable, "benchmarks/idempotency.py", "--quick", f"--json={told}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    verdict: dict[str, Any] = json.loads(told.read_text())["idempotency"]
    assert verdict["killed"] == 1
    assert verdict["keys_answered"] + verdict["keys_unknown"] == verdict["keys"]
    assert all(verdict["moments"].values())
