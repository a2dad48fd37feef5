"""Observes processes from outside: which are alive, whose children they are, and their streams."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from devflow_cli.testing import RunningCommand
from devflow_core.ledger import LedgerEntry
from devflow_store import Store
from integration.served import PATIENCE_S, read_reply

MODEL = "anthropic/claude-haiku-4.5"
_MOST_LOOKS = 10_000
CHAT: dict[str, Any] = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "hello"}],
    "max_tokens": 64,
}


def until(is_so: Callable[[], object], what: str) -> None:
    """Wait until a condition holds, with a deadline that suits slow machines."""
    for _ in range(_MOST_LOOKS):
        if is_so():
            return
        time.sleep(0.01)
    raise TimeoutError(f"not so: {what}")


def children_of(pid: int) -> list[int]:
    """Return the living children of a process, oldest first; none if it has ended."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except OSError:
        return []
    return [int(one) for one in text.split()]


def command_line(pid: int) -> str:
    """Return the arguments of a process, separated by spaces; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def is_alive(pid: int) -> bool:
    """Return whether a process is running; a zombie is not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def workers_of(supervisor: int) -> list[int]:
    """Return the workers among a supervisor's children."""
    return [one for one in children_of(supervisor) if "spawn_main" in command_line(one)]


def port_of(child: RunningCommand) -> int:
    """Return the port that a starting gateway announces."""
    return int(child.wait_for_document()["url"].rpartition(":")[2])


def wait_until_ready(port: int) -> None:
    """Wait until a worker takes requests."""
    until(lambda: _status_of(port) == 200, "the gateway is ready")


def heeds(pid: int, number: signal.Signals) -> bool:
    """Return whether a process handles a signal; while it is still starting, it does not."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    caught = int(status.partition("SigCgt:")[2].split()[0], 16)
    return bool(caught >> (number - 1) & 1)


def kill(pid: int) -> None:
    """Kill a process as the kernel does when memory runs out (SIGKILL)."""
    os.kill(pid, signal.SIGKILL)


def _status_of(port: int) -> int:
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as one:
        one.sendall(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        return read_reply(one).status


class Stream:
    """A running streamed chat on its own connection."""

    def __init__(self, port: int, path: str = "/v1/chat/completions", **fields: Any) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        body = json.dumps({**CHAT, "stream": True, **fields}).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self._socket.sendall(head.encode() + body)
        self.received = b""

    def begin(self) -> Self:
        """Wait for the first content."""
        while b"data: {" not in self.received:
            piece = self._socket.recv(65536)
            assert piece, self.received
            self.received += piece
        return self

    def read_to_end(self) -> bytes:
        """Return all of it, up to its last chunk or the end of the connection."""
        while not self.received.endswith(b"0\r\n\r\n"):
            piece = self._receive()
            if not piece:
                break
            self.received += piece
        self._socket.close()
        return self.received

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(65536)
        except ConnectionError:
            return b""


def entries_of(home: Path) -> list[LedgerEntry]:
    """Return the ledger's entries below a home, after verifying its chain."""
    store = Store(home / ".local" / "share" / "devflow" / "sandbox" / "ledger.db")
    assert store.verify().ok
    return list(store.entries())
