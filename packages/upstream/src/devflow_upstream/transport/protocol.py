"""Defines the port between the client and its transports: a request, an exchange, a transport."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

HOST_UNUSABLE = "host_unusable"
"""The `error_type` when a name cannot be resolved, or TLS or its certificate fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One request, below the base URL of its transport."""

    method: str
    path: str
    """The path below the base URL, with its query (`/chat/completions`)."""
    headers: Mapping[str, str] = field(repr=False)
    """The headers, without those that the transport sets: host, length and connection."""
    body: bytes = field(default=b"", repr=False)


class UpstreamExchange(Protocol):
    """A reply whose head has come; the caller of `start` closes it and does not use it afterwards.

    `deadline_s` is when a waiting read fails, on the event loop's clock. Extending it costs
    nothing, so a reader does so with every event that counts as progress.
    """

    @property
    def deadline_s(self) -> float:
        """When the next read times out, in seconds on the event loop's clock."""
        ...

    @deadline_s.setter
    def deadline_s(self, deadline_s: float, /) -> None: ...

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers by name in lower case; values of a repeated one are joined by a comma."""
        ...

    async def read(self) -> bytes:
        """Return the next bytes of the body; empty at its end.

        Raises:
            TimeoutError: `deadline_s` has passed.
            Incomplete: the connection ended inside the body.
            ProtocolError: the framing is broken.
            ReplyTooLarge: the body is over the limit.
        """
        ...

    async def close(self, *, is_complete: bool) -> None:
        """End the exchange; its connection is reused if possible.

        Args:
            is_complete: whether the caller has the whole reply, so that only the end of the framing
                may be missing; otherwise a connection with bytes to come is closed at once.
        """
        ...


class Transport(Protocol):
    """Sends requests to one base URL and returns the replies."""

    async def start(self, request: HttpRequest, /, *, deadline_s: float) -> UpstreamExchange:
        """Send the request and wait for the head of the reply; redirects are not followed.

        Args:
            request: what to send.
            deadline_s: when to give up waiting for the head, on the event loop's clock; the
                exchange starts with the same deadline.

        Raises:
            NotSent: no byte of the request has left.
            MachineExhausted: this machine lacks a resource that sending needs.
            PossiblyAccepted: the connection ended before a head came.
            ProtocolError: the answer is not HTTP.
            Incomplete, ReplyTooLarge: the head was cut off, or is over its limit.
            TimeoutError: the deadline has passed.
            InvalidRequest: a header's value may not be sent.
        """
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...
