"""The seam between the client and whatever carries its bytes: four small types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

HOST_UNUSABLE = "host_unusable"
"""`error_type` of a name that cannot be resolved or a certificate that is not to be trusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One request, below the base URL of its transport."""

    method: str
    path: str
    """From the base URL on, with its query (`/chat/completions`)."""
    headers: Mapping[str, str] = field(repr=False)
    """Without those that the transport owns: host, length and connection."""
    body: bytes = field(default=b"", repr=False)


class UpstreamExchange(Protocol):
    """A reply whose head has come. Whoever started it closes it, and asks it nothing after that.

    `deadline_s` is when a read that still waits fails, on the event loop's clock. Moving it on
    costs nothing, so a reader does it with every event that counts as progress.
    """

    @property
    def deadline_s(self) -> float:
        """When the next read gives up."""
        ...

    @deadline_s.setter
    def deadline_s(self, deadline_s: float, /) -> None: ...

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """By name in lower case; repeated ones joined by a comma."""
        ...

    async def read(self) -> bytes:
        """The next bytes of the body; empty at its end.

        Raises:
            TimeoutError: `deadline_s` has passed.
            Incomplete: the connection ended inside the body.
            ProtocolError: the framing is broken.
            ReplyTooLarge: the body is over the limit.
        """
        ...

    async def close(self, *, is_complete: bool) -> None:
        """End it: at once, unless `is_complete` says that only the framing's end may be missing."""
        ...


class Transport(Protocol):
    """Something that sends a request to one base URL and hands out the reply."""

    async def start(self, request: HttpRequest, /, *, deadline_s: float) -> UpstreamExchange:
        """Send the request and wait for the head of the reply. Redirects are not followed.

        Args:
            request: what to send.
            deadline_s: when to give up waiting for the head, on the event loop's clock; the
                exchange starts with the same deadline.

        Raises:
            NotSent: no byte of the request has left.
            MachineExhausted: this machine lacks what it takes to send it.
            PossiblyAccepted: the connection ended before a head came.
            ProtocolError: what came is no HTTP.
            TimeoutError: the deadline has passed.
            InvalidRequest: a header's value may not be sent.
        """
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...
