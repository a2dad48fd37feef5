"""Tells the other workers of this server what one of them has learned, in memory alone.

Each worker has a mailbox: a pair of connected sockets without a name, from one end of which it
reads, while all others write to the other end. The supervisor makes them and hands them down, so
nobody else can open one, and nothing is written to a disk. A message is one datagram: it arrives
whole or not at all. What is larger than a mailbox, or comes while it is full, is dropped; so what
is told may only be what does no harm when it is lost.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

MAX_MESSAGE_BYTES = 180_000
"""The most bytes of a message; Linux refuses those of more than 208 KiB."""
_MAILBOX_BYTES = 1 << 20
"""The size that is asked for; the system may give less."""
_MAX_AT_ONCE = 64
"""The messages that are read before other work has its turn."""
_END_OF_TOPIC = b"\0"
_log = structlog.get_logger("devflow.peers")


@dataclass(frozen=True, slots=True)
class PeerSockets:
    """The sockets of one worker, which can be given to a spawned process."""

    inbox: socket.socket
    outlets: tuple[socket.socket, ...]
    """Of all other workers."""


def open_mailboxes(workers: int) -> list[PeerSockets]:
    """Return the sockets of each worker; none where the system has no such sockets (Windows)."""
    if not hasattr(socket, "AF_UNIX"):
        return []
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(workers)]
    for inbox, outlet in pairs:
        inbox.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _MAILBOX_BYTES)
        outlet.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MAILBOX_BYTES)
    return [
        PeerSockets(inbox, tuple(outlet for other, outlet in pairs if other is not inbox))
        for inbox, _outlet in pairs
    ]


class Peers:
    """What this worker tells the others, and what it makes of what they tell.

    Args:
        sockets: of this worker; None: there are no others.
    """

    def __init__(self, sockets: PeerSockets | None = None) -> None:
        self._inbox = None if sockets is None else sockets.inbox
        self._outlets: Sequence[socket.socket] = () if sockets is None else sockets.outlets
        self._listeners: dict[bytes, Callable[[bytes], None]] = {}
        for one in (*([self._inbox] if self._inbox else []), *self._outlets):
            one.setblocking(False)

    def listen(self, topic: str, listener: Callable[[bytes], None]) -> None:
        """Give the messages of a topic to a listener; one a topic."""
        self._listeners[topic.encode()] = listener

    def tell(self, topic: str, message: bytes) -> None:
        """Send a message to all other workers; it may be lost."""
        if not self._outlets:
            return
        whole = topic.encode() + _END_OF_TOPIC + message
        if len(whole) > MAX_MESSAGE_BYTES:
            _log.debug("peers.too_long", topic=topic, size_bytes=len(whole))
            return
        for one in self._outlets:
            try:
                one.send(whole)
            except OSError as error:  # full, or its worker has ended
                _log.debug("peers.not_told", topic=topic, reason=error.strerror)

    @contextmanager
    def receiving(self) -> Generator[None]:
        """Read messages in the running loop during the block."""
        if self._inbox is None:
            yield
            return
        loop = asyncio.get_running_loop()
        loop.add_reader(self._inbox, self._read, self._inbox)
        try:
            yield
        finally:
            loop.remove_reader(self._inbox)

    def _read(self, inbox: socket.socket) -> None:
        for _ in range(_MAX_AT_ONCE):
            try:
                whole = inbox.recv(MAX_MESSAGE_BYTES)
            except BlockingIOError:
                return
            topic, _end, message = whole.partition(_END_OF_TOPIC)
            if topic in self._listeners:
                self._listeners[topic](message)
