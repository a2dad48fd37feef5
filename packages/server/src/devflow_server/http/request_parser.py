"""Parses the bytes of a connection into requests: llhttp, with checks for what it lets through."""

from __future__ import annotations

import time
from typing import Literal

import httptools

from devflow_server.http.limits import Limits
from devflow_server.http.message import UPSTREAM_KEY_HEADER, Request, RequestRejected

_SINGLETON_HEADERS = frozenset(
    {
        "authorization",
        "content-length",
        "content-type",
        "expect",
        "host",
        "idempotency-key",
        "origin",
        "transfer-encoding",
        "x-api-key",
        UPSTREAM_KEY_HEADER,
    }
)
"""Headers that may occur only once: of two, different readers could each use a different one."""

_CHUNK_OVERHEAD_BYTES = 64 * 1024
"""The allowance for chunk sizes and extensions, on top of the body limit."""

Phase = Literal["idle", "head", "body"]
"""The part of a request that is arriving; `idle` between two requests."""


class RequestParser:
    """Turns received bytes into requests; after a `RequestRejected` it accepts no more.

    llhttp (strict since 9.2) itself refuses: both Content-Length and Transfer-Encoding, two
    lengths, bare LF, folded headers, space before a colon, control characters, wrong chunks. It
    lets through, so this class refuses: no or two Hosts, HTTP/0.9 and 2.0, other transfer codings,
    Transfer-Encoding in HTTP/1.0, absolute targets, trailers, bodies before an upgrade, and sizes.

    Args:
        limits: the sizes allowed.
        peer: address of the socket's other end.
    """

    def __init__(self, limits: Limits, peer: str) -> None:
        self.phase: Phase = "idle"
        self.wants_continue = False
        """Whether the peer waits for `100 Continue` before it sends the body."""
        self._limits = limits
        self._peer = peer
        self._parser = httptools.HttpRequestParser(self)
        self._rejection: RequestRejected | None = None
        self._completed: list[Request] = []
        self._is_closed = False
        self._is_new_head = False
        self._reset()

    def feed(self, received: bytes) -> list[Request]:
        """Return the requests that these bytes complete, in order.

        Raises:
            RequestRejected: the bytes are not an acceptable request. Requests completed before are
                dropped on purpose: whatever precedes a framing attack is part of it.
        """
        if self._is_closed:
            return []
        self._completed = []
        self._is_new_head = False
        try:
            self._parser.feed_data(received)
        except httptools.HttpParserUpgrade:
            self._is_closed = True  # we do not upgrade: the request is answered as any other
        except httptools.HttpParserError as error:
            self._handle_error(error)
        self._count_incomplete(len(received))
        return self._completed

    def read_head(self) -> Request:
        """Return the request whose headers have arrived, without a body."""
        path, _, query = self._target.decode("ascii").partition("?")
        parser = self._parser
        is_1_0 = parser.get_http_version() == "1.0"
        return Request(
            method=parser.get_method().decode("ascii"),
            path=path,
            query=query,
            headers=self._headers,
            body=b"",
            peer=self._peer,
            is_last=is_1_0 or not parser.should_keep_alive() or "upgrade" in self._headers,
            is_http_1_0=is_1_0,
            arrived_s=time.monotonic(),
        )

    def limit_body(self, max_bytes: int) -> bool:
        """Limit the body that is arriving, in bytes; return False if it is already too large."""
        self._max_body_bytes = min(max_bytes, self._max_body_bytes)
        return max(self.announced_bytes or 0, self.body_bytes) <= self._max_body_bytes

    def stop(self) -> None:
        """Accept no more, and discard the body received so far."""
        self._is_closed = True
        self._body = b""

    def _reset(self) -> None:
        self._target = b""
        self._headers: dict[str, str] = {}
        self._header_count = 0
        self._head_bytes = 0
        self._body: bytes | bytearray = b""
        self._wire_bytes = 0
        self._max_body_bytes = self._limits.max_body_bytes
        self.body_bytes = 0
        """Bytes of the body received so far."""
        self.announced_bytes: int | None = None
        """The length of the whole body; None for a chunked one."""

    def _handle_error(self, error: httptools.HttpParserError) -> None:
        self._is_closed = True
        if self._rejection is not None:
            raise self._rejection
        if self._completed and self._completed[-1].is_last:
            return  # bytes after a request that announced to be the last
        if isinstance(error.__context__, MemoryError):
            raise RequestRejected(503, "This gateway has no memory left for this request.")
        raise RequestRejected(400, "The request is not valid HTTP/1.1.") from error

    def _count_incomplete(self, received_bytes: int) -> None:
        # llhttp reports a header only once it is complete, so an endless one is counted here
        if self.phase == "head" and not self._is_new_head:
            self._head_bytes += received_bytes
            if self._head_bytes > self._limits.max_head_bytes:
                raise self._reject(431, "The request's headers are too large.")
        elif self.phase == "body":
            self._wire_bytes += received_bytes
            if self._wire_bytes > self._max_body_bytes + _CHUNK_OVERHEAD_BYTES:
                raise self._reject_too_large()

    def _reject(self, status: int, message: str) -> RequestRejected:
        self._is_closed = True
        self._rejection = RequestRejected(status, message)
        return self._rejection

    def _reject_too_large(self) -> RequestRejected:
        max_bytes = self._max_body_bytes
        return self._reject(413, f"The request body is over this gateway's {max_bytes} bytes.")

    # called by llhttp

    def on_message_begin(self) -> None:
        """Begin a request."""
        self.phase = "head"
        self._is_new_head = True
        self._reset()

    def on_url(self, piece: bytes) -> None:
        """Add a piece of the target."""
        self._target += piece
        if len(self._target) > self._limits.max_target_bytes:
            raise self._reject(414, "The request's target is too long.")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a complete header; refuse a trailer."""
        self._header_count += 1
        # four bytes for the colon, the space and CR LF
        self._head_bytes += len(name) + len(value) + 4
        if (
            self._header_count > self._limits.max_headers
            or self._head_bytes > self._limits.max_head_bytes
        ):
            raise self._reject(431, "The request has too many or too large headers.")
        # headers after the body could replace those that were checked before it
        if self.phase == "body":
            raise self._reject(400, "Trailers are not accepted.")
        key = name.decode("ascii").lower()
        # RFC 9110, 5.5: bytes above 127 are opaque; latin-1 has a character for each
        text = value.decode("latin-1")
        if key in self._headers:
            if key in _SINGLETON_HEADERS:
                raise self._reject(400, f"The header {key} is there twice.")
            text = f"{self._headers[key]}, {text}"
        self._headers[key] = text

    def on_headers_complete(self) -> None:
        """Check the complete head."""
        self.phase = "body"
        self._check_head()
        length = self._headers.get("content-length")
        if length is not None:
            self.announced_bytes = int(length)
            if self.announced_bytes > self._max_body_bytes:
                raise self._reject_too_large()
        expect = self._headers.get("expect")
        if expect is not None and expect.lower() != "100-continue":
            raise self._reject(417, "Only 100-continue can be expected here.")
        self.wants_continue = expect is not None

    def _check_head(self) -> None:
        headers = self._headers
        version = self._parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise self._reject(505, "This server speaks HTTP/1.1.")
        # RFC 9112, 3.2 requires it, and the check of foreign pages depends on it
        if "host" not in headers and version == "1.1":
            raise self._reject(400, "The request names no Host.")
        # RFC 9112, 3.2.2: absolute targets are for proxies, and name a second host
        if not self._target.startswith(b"/"):
            raise self._reject(400, "The request's target has to be a path.")
        coding = headers.get("transfer-encoding")
        # RFC 9112, 6.1: a reader that ignores or misreads a coding sees other requests than we do
        if coding is not None and (coding.lower() != "chunked" or version == "1.0"):
            raise self._reject(400, "The only transfer coding here is chunked, in HTTP/1.1.")
        if "upgrade" in headers and ("content-length" in headers or coding is not None):
            raise self._reject(400, "A request with a body cannot upgrade.")

    def on_body(self, piece: bytes) -> None:
        """Add a piece of the body, without its chunk framing."""
        self.body_bytes += len(piece)
        if self.body_bytes > self._max_body_bytes:
            raise self._reject_too_large()
        if not self._body:
            self._body = piece
            return
        if isinstance(self._body, bytes):
            self._body = bytearray(self._body)  # a list of pieces would hold a header for each
        self._body += piece

    def on_message_complete(self) -> None:
        """Complete the request."""
        self.phase = "idle"
        self.wants_continue = False
        request = self.read_head()
        request.body, self._body = bytes(self._body), b""
        self._completed.append(request)
