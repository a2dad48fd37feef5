"""Runs `devflow serve` as a child process, and sends it arbitrary bytes over sockets."""

from __future__ import annotations

import json
import socket
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devflow_cli.testing import CommandResult, RunningCommand, run_command
from devflow_sandbox import Sandbox

PATIENCE_S = 60.0
NOBODY = "http://127.0.0.1:9/api/v1"
"""An upstream address on which nothing listens."""
KEY = "sk-or-v1-of-this-test"


@dataclass(frozen=True)
class Reply:
    """The bytes received over a socket until it was closed or the reply was complete."""

    status: int
    headers: dict[str, str]
    body: bytes
    is_closed: bool

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        return self.json["error"]["message"]


@dataclass(frozen=True)
class Served:
    """A running gateway that takes requests."""

    pid: int
    port: int
    first_key: str | None
    home: Path

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        """Open a connection; `source` is the loopback address it comes from."""
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE_S, (source, 0))

    def head(self, method: str, path: str, headers: dict[str, str], length: int | None) -> bytes:
        lines = {"Host": f"127.0.0.1:{self.port}", **headers}
        if length is not None:
            lines["Content-Length"] = str(length)
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
        return f"{method} {path} HTTP/1.1\r\n{text}\r\n".encode("latin-1")

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | dict[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        key: str | None = None,
        source: str = "127.0.0.1",
    ) -> Reply:
        """Send one request on a new connection, and return the reply."""
        raw = json.dumps(body).encode() if isinstance(body, dict) else body
        given = dict(headers or {})
        if key is not None:
            given["Authorization"] = f"Bearer {key}"
        with self.connect(source) as one:
            one.sendall(self.head(method, path, given, None if raw is None else len(raw)))
            if raw is not None:
                send_what_is_taken(one, raw)
            return read_reply(one)

    def devflow(self, *arguments: str, **more: str) -> CommandResult:
        """Run another `devflow` command over the same data."""
        seen = environment(self.home, **more)
        return run_command(*arguments, folder=self.home, environment=seen)

    def make_key(self, name: str, *options: str) -> str:
        done = self.devflow("keys", "create", name, *options, "--json")
        assert done.status == 0, done.err
        return done.document["key"]

    def resident_bytes(self) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        return 1024 * int(status.partition("VmRSS:")[2].split()[0])


def environment(home: Path, **more: str) -> dict[str, str]:
    return {
        "HOME": str(home),
        "PATH": "/usr/bin:/bin",
        "OPENROUTER_API_KEY": KEY,
        "OPENROUTER_BASE_URL": NOBODY,
        **more,
    }


def upstream_of(sandbox: Sandbox) -> dict[str, str]:
    """Return the environment of a gateway whose upstream is this sandbox."""
    return {"OPENROUTER_BASE_URL": sandbox.base_url, "OPENROUTER_API_KEY": sandbox.api_key}


def start(home: Path, *options: str, **more: str) -> RunningCommand:
    """Start `devflow serve` on a free port over an empty home, without waiting until it serves."""
    arguments = ("serve", "--port", "0", "--json", *options)
    return RunningCommand(arguments, folder=home, environment=environment(home, **more))


def read_end(child: RunningCommand) -> CommandResult:
    """Return how a gateway that should not start has ended; kill it if it does start."""
    with child:
        return child.wait(PATIENCE_S)


@contextmanager
def serve(home: Path, *options: str, **more: str) -> Generator[Served]:
    """Run `devflow serve` until the block ends, and check that it ends in order."""
    with start(home, *options, **more) as child:
        ready = child.wait_for_document()
        port = int(ready["url"].rpartition(":")[2])
        try:
            yield Served(child.pid, port, ready["first_key"], home)
            assert child.is_running, "the gateway has ended"
        finally:
            child.terminate()
            child.wait(PATIENCE_S)


def send_what_is_taken(one: socket.socket, raw: bytes) -> int:
    """Send until all is sent or the peer accepts no more; return how many bytes are left."""
    view, sent = memoryview(raw), 0
    try:
        while sent < len(raw):
            sent += one.send(view[sent : sent + 65536])
    except OSError:
        return sent
    return sent


def read_reply(one: socket.socket) -> Reply:
    """Read a reply; a body without a length is read to the end of the connection."""
    one.settimeout(PATIENCE_S)
    raw, is_closed = b"", False
    while not is_closed and not _is_whole(raw):
        piece = _receive(one)
        is_closed = not piece
        raw += piece
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    is_closed = is_closed or headers.get("connection") == "close"
    return Reply(int(first[9:12] or 0), headers, body, is_closed)


def is_closed_by_peer(one: socket.socket) -> bool:
    """Return whether the peer closes the connection without sending anything more."""
    one.settimeout(PATIENCE_S)
    return _receive(one) == b""


def _receive(one: socket.socket) -> bytes:
    try:
        return one.recv(65536)
    except ConnectionError:
        return b""


def _is_whole(raw: bytes) -> bool:
    head, end, body = raw.partition(b"\r\n\r\n")
    if not end:
        return False
    lower = head.lower()
    if b"\r\ntransfer-encoding: chunked" in lower:
        return body.endswith(b"0\r\n\r\n")
    _, found, rest = lower.partition(b"\r\ncontent-length: ")
    if not found:
        return raw[9:12] == b"100"
    return len(body) >= int(rest.split(b"\r\n")[0])
