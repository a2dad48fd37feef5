"""When descriptors or memory run out, what is open goes on and the rest is told so."""

from __future__ import annotations

import json
import resource
import socket
import subprocess
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from devflow_sandbox.threaded import ThreadedSandbox
from integration.doors import PROGRAM
from integration.living import MODEL, until, wait_until_ready
from integration.served import PATIENCE_S, environment, read_reply, send_what_is_taken


@contextmanager
def _limited(folder: Path, limit: str) -> Generator[tuple[int, subprocess.Popen[bytes], Path]]:
    """`devflow serve` below a limit of the shell's; its port, itself, and what it logs."""
    with ThreadedSandbox() as sandbox, (folder / "log").open("wb") as log:
        given = environment(
            folder, OPENROUTER_BASE_URL=sandbox.base_url, OPENROUTER_API_KEY=sandbox.api_key
        )
        shell = f'ulimit {limit}; exec "$0" serve --port 0 --json --no-key'
        with subprocess.Popen(
            ["/bin/sh", "-c", shell, str(PROGRAM)],
            cwd=folder,
            env=given,
            stdout=subprocess.PIPE,
            stderr=log,
        ) as child:
            assert child.stdout is not None
            try:
                text = child.stdout.readline() + child.stdout.readline()
                port = int(text.partition(b'"url": "')[2].partition(b'"')[0].rpartition(b":")[2])
                yield port, child, folder / "log"
                assert child.poll() is None, (folder / "log").read_text()
            finally:
                child.terminate()
                child.wait(PATIENCE_S)


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), PATIENCE_S)


def _get(one: socket.socket, path: str) -> tuple[int, bytes]:
    one.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    reply = read_reply(one)
    return reply.status, reply.body


def _chat(port: int, words: str) -> tuple[int, str]:
    messages = [{"role": "user", "content": words}]
    body = json.dumps({"model": MODEL, "max_tokens": 9, "messages": messages}).encode()
    with _connect(port) as one:
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}"
        )
        one.sendall(f"{head}\r\n\r\n".encode())
        send_what_is_taken(one, body)
        reply = read_reply(one)
    return reply.status, reply.body.decode()


def _highest_descriptor(pid: int) -> int:
    return max(int(one.name) for one in Path(f"/proc/{pid}/fd").iterdir())


def test_more_connections_than_descriptors_are_refused_in_words(tmp_path: Path) -> None:
    with _limited(tmp_path, "-n 128") as (port, _child, _log), ExitStack() as stack:
        first = stack.enter_context(_connect(port))
        assert _get(first, "/healthz")[0] == 200
        crowd = [stack.enter_context(_connect(port)) for _ in range(100)]
        refused = 0
        for one in crowd:
            status, body = _get(one, "/healthz")
            assert status == 200 or b"too many connections" in body
            refused += status == 503
        assert refused > 50
        assert _get(first, "/healthz")[0] == 200  # who is in goes on
        for one in crowd:
            one.close()
        wait_until_ready(port)
        assert _chat(port, "hello")[0] == 200


def test_running_out_of_descriptors_is_told_once_and_passes(tmp_path: Path) -> None:
    with (
        _limited(tmp_path, "-n 256") as (port, child, log),
        _connect(port) as one,
        ExitStack() as stack,
    ):
        assert _get(one, "/readyz")[0] == 200
        limit = _highest_descriptor(child.pid) + 1
        resource.prlimit(child.pid, resource.RLIMIT_NOFILE, (limit, 256))

        def is_out() -> bool:
            """Whether it has none left, now that one more connection wants one."""
            stack.enter_context(_connect(port))
            status, body = _get(one, "/readyz")
            return status == 503 and b"descriptors" in body

        until(is_out, "it is not ready for want of descriptors")
        for _ in range(20):
            with _connect(port) as other:
                other.settimeout(PATIENCE_S)
                assert other.recv(1) == b""  # cut, as the system does
        assert _get(one, "/healthz")[0] == 200
        counted = _get(one, "/metrics")[1].partition(b"\ndevflow_descriptor_shortages_total ")[2]
        assert float(counted.split()[0]) >= 1
        resource.prlimit(child.pid, resource.RLIMIT_NOFILE, (256, 256))
        until(lambda: _get(one, "/readyz")[0] == 200, "it is ready again")
        assert _chat(port, "hello")[0] == 200
        assert log.read_text().count("no_descriptors_left") == 1


def test_without_memory_a_request_is_503_and_others_are_answered(tmp_path: Path) -> None:
    with _limited(tmp_path, "-v 700000") as (port, _child, _log):
        assert _chat(port, "hello")[0] == 200
        for _ in range(3):
            status, body = _chat(port, "y" * 30_000_000)
            assert status == 503
            assert "memory" in body
        assert _chat(port, "hello")[0] == 200
