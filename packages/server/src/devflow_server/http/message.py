"""Holds requests as received, and encodes the heads of replies."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus

from devflow_core.errors import DevFlowError

Header = tuple[str, str]
UPSTREAM_KEY_HEADER = "x-openrouter-key"
"""The header with the caller's own provider key, for this request only."""


class RequestRejected(Exception):
    """A request that no handler gets to see; the connection is closed after the reply.

    Args:
        status: the HTTP status to answer with.
        message: what is wrong, for a person; contains nothing that the peer sent.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(slots=True, kw_only=True, eq=False)
class Admission:
    """The decision about a request, made from its head before its body is read."""

    owner: str = ""
    """The owner of its body's bytes; see `HeldBytes`."""
    max_body_bytes: int | None = None
    """The limit for this request's body; None means the server's limit."""
    refusal: DevFlowError | None = None
    """Why the request is refused; its handler gets it without a body, to report this."""


@dataclass(slots=True, kw_only=True)
class Request:
    """A request, complete unless it was refused before its body was read."""

    method: str
    path: str
    """The path as it was sent, not decoded."""
    query: str
    """The part after `?` in the target, as it was sent; empty without one."""
    headers: Mapping[str, str]
    """The headers by name in lower case; values of a repeated one are joined by commas."""
    body: bytes
    """The body; empty if the request was refused."""
    peer: str
    """The address of the socket's peer, never taken from a header; empty for a Unix socket."""
    is_last: bool
    """Whether the connection is closed after the reply."""
    is_http_1_0: bool
    arrived_s: float
    """When its last byte arrived, on the monotonic clock."""
    admission: Admission | None = None
    """The decision made before the body came; None for a request received in one piece."""
    owner: str = ""
    """The owner of its bytes; empty until they are counted."""
    held_bytes: int = 0
    """Bytes counted as its owner's until the last user of the request has finished."""
    workers: int = 1
    """The number of its users: its handler, and tasks that may outlive it."""

    @property
    def is_refused(self) -> bool:
        """Whether it was refused before its body was read."""
        return self.admission is not None and self.admission.refusal is not None


# 499 is nginx's number, which no registry has, for clients that left before the reply
_REASONS = {status.value: status.phrase for status in HTTPStatus} | {499: "Client Closed Request"}
_STATUS_LINES = {
    status: f"HTTP/1.1 {status} {phrase}\r\n".encode() for status, phrase in _REASONS.items()
}


class DateLine:
    """Formats the `Date` header once per second."""

    def __init__(self) -> None:
        self._second = -1
        self._line = b""

    def __call__(self) -> bytes:
        """Return the header line of the current second."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._line = f"date: {formatdate(second, usegmt=True)}\r\n".encode()
        return self._line


_date_line = DateLine()


def encode_head(status: int, headers: Iterable[Header], framing: bytes = b"") -> bytes:
    """Return the status line and the headers, with the closing blank line.

    Args:
        status: a registered status, or 499.
        headers: sent in this order.
        framing: header lines that delimit the body, each with its CRLF.

    Raises:
        KeyError: there is no such status.
        ValueError: a value is not printable ASCII; a line break would inject another header.
    """
    lines: list[str] = []
    for name, value in headers:
        if not is_header_safe(value):
            raise ValueError(f"the reply header {name} is not printable ASCII")
        lines.append(f"{name}: {value}\r\n")
    return b"".join(
        (_STATUS_LINES[status], _date_line(), framing, "".join(lines).encode("ascii"), b"\r\n")
    )


def is_header_safe(value: str) -> bool:
    """Return whether a text may be a header's value: printable ASCII."""
    return value.isascii() and value.isprintable()
