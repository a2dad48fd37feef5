"""Requests as they come in, and heads of replies as they go out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus

from devflow_core.errors import DevFlowError

Header = tuple[str, str]
UPSTREAM_KEY_HEADER = "x-openrouter-key"
"""The caller's own key of the provider, for this request only."""


class RequestRejected(Exception):
    """A request that does not get as far as a handler; the connection is closed after the reply.

    Args:
        status: the HTTP status to answer with.
        message: what is wrong, for a person; holds nothing that the peer sent.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(slots=True, kw_only=True, eq=False)
class Admission:
    """What is decided of a request when its headers are there, before its body is read."""

    owner: str = ""
    """Whose bytes its body is; see `HeldBytes`."""
    max_body_bytes: int | None = None
    """Of this request; None is what the server takes at the most."""
    refusal: DevFlowError | None = None
    """Why it is not let in: its handler gets it without a body, to say so."""


@dataclass(slots=True, kw_only=True)
class Request:
    """One request, whole unless it was refused before its body was read.

    Header names are in lower case; the path is as it was sent.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    peer: str
    """Address of the socket's other end; never taken from a header. Empty for a Unix socket."""
    is_last: bool
    """The connection is closed after the reply."""
    is_http_1_0: bool
    arrived_s: float
    """On the monotonic clock, when the last byte was there."""
    admission: Admission | None = None
    """Where it was decided before the body came; None for a request that came whole."""
    owner: str = ""
    held_bytes: int = 0
    """How many bytes are counted as its owner's until nobody works on it any more."""
    workers: int = 1
    """Who works on it: its handler, and what goes on without it."""

    @property
    def is_refused(self) -> bool:
        """Whether it was refused before its body was read."""
        return self.admission is not None and self.admission.refusal is not None


_REASONS = {status.value: status.phrase for status in HTTPStatus} | {499: "Client Closed Request"}
_STATUS_LINES = {
    status: f"HTTP/1.1 {status} {phrase}\r\n".encode() for status, phrase in _REASONS.items()
}


class DateLine:
    """The `Date` header, formatted once a second."""

    def __init__(self) -> None:
        self._second = -1
        self._line = b""

    def __call__(self) -> bytes:
        """The header line of this second."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._line = f"date: {formatdate(second, usegmt=True)}\r\n".encode()
        return self._line


_date_line = DateLine()


def encode_head(status: int, headers: Iterable[Header], framing: bytes = b"") -> bytes:
    """Status line and headers with the closing blank line.

    Args:
        status: a registered status.
        headers: in the order to send.
        framing: lines that say where the body ends, each with its CRLF.

    Raises:
        ValueError: a value is not printable ASCII: a line break would start another header.
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
    """Whether a text can stand in a header."""
    return value.isascii() and value.isprintable()
