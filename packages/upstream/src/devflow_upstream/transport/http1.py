"""Reads one HTTP/1.1 reply from bytes, strictly: what is ambiguous is refused, not guessed.

A lenient reader behind a gateway is how one reply becomes two; so a length beside chunking, a
folded header, a bare line feed or a chunk that does not end where it says are errors here
(RFC 9112, sections 5.2, 6.1 to 6.3 and 7.1, read 2026-11-21).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto

from devflow_core.errors import Incomplete, ProtocolError, ReplyTooLarge

_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: [^\x00-\x08\x0a-\x1f\x7f]*)?")
_HEADER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_LENGTH = re.compile(r"[0-9]{1,15}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?")
_PLAIN_CHUNK = re.compile(rb"[1-9A-Fa-f][0-9A-Fa-f]{0,7}")
_MOST_INTERIM = 8
_MOST_CHUNK_LINE_BYTES = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """How much of a reply is taken at the most."""

    head_bytes: int = 64 * 1024
    """Of the status line with all headers, and of trailers."""
    headers: int = 128
    body_bytes: int = 64 * 1024 * 1024


class _State(Enum):
    HEAD = auto()
    LENGTH = auto()
    UNTIL_CLOSE = auto()
    CHUNK_SIZE = auto()
    CHUNK_BODY = auto()
    CHUNK_END = auto()
    TRAILERS = auto()
    DONE = auto()


class ReplyReader:
    """Takes bytes in, gives pieces of the body out. Not reusable: one for each reply.

    Args:
        caps: the most that is taken.
    """

    def __init__(self, caps: Caps) -> None:
        self.status = 0
        """0 until the head has come."""
        self.headers: dict[str, str] = {}
        self.is_reusable = False
        """Whether the connection may carry another exchange; only of use when `is_done`."""
        self._caps = caps
        self._state = _State.HEAD
        self._rest = b""
        self._left = 0
        self._body_bytes = 0
        self._interim = 0

    @property
    def has_begun(self) -> bool:
        """A byte of the reply has come."""
        return bool(self._rest or self.status or self._interim)

    @property
    def is_done(self) -> bool:
        """The whole reply has come."""
        return self._state is _State.DONE

    def feed(self, data: bytes) -> list[bytes]:
        """The pieces of the body in `data`.

        Raises:
            ProtocolError: the bytes are no HTTP/1.1 reply.
            ReplyTooLarge: head or body are over their cap.
        """
        buffer = self._rest + data if self._rest else data
        pieces: list[bytes] = []
        at = 0
        while self._state is not _State.DONE:
            if self._state is _State.CHUNK_SIZE:
                at = self._whole_chunks(buffer, at, pieces)
            used = self._step(buffer, at, pieces)
            if used < 0:
                break
            at = used
        self._rest = buffer[at:]
        if self._state is _State.DONE and self._rest:
            self.is_reusable = False  # bytes that nobody asked for
            self._rest = b""
        return pieces

    def end(self) -> None:
        """The connection has ended.

        Raises:
            Incomplete: inside the body.
            ProtocolError: inside the head.
        """
        if self._state is _State.UNTIL_CLOSE:
            self._state = _State.DONE
        elif self._state is _State.HEAD:
            raise ProtocolError("The provider closed the connection inside the head of its reply.")
        elif self._state is not _State.DONE:
            raise Incomplete("The provider closed the connection inside the body of its reply.")

    def _step(self, buffer: bytes, at: int, pieces: list[bytes]) -> int:
        """Read one element from `at` on; where it ends, or -1 when more bytes are needed."""
        match self._state:
            case _State.CHUNK_SIZE:
                return self._chunk_size(buffer, at)
            case _State.CHUNK_BODY | _State.LENGTH:
                return self._counted(buffer, at, pieces)
            case _State.CHUNK_END:
                return self._chunk_end(buffer, at)
            case _State.HEAD:
                return self._head(buffer, at)
            case _State.UNTIL_CLOSE:
                return self._until_close(buffer, at, pieces)
            case _:
                return self._trailers(buffer, at)

    def _head(self, buffer: bytes, at: int) -> int:
        end = buffer.find(b"\r\n\r\n", at)
        if (len(buffer) if end < 0 else end) - at > self._caps.head_bytes:
            raise ReplyTooLarge(f"The reply's head is over {self._caps.head_bytes} bytes.")
        if end < 0:
            if not b"HTTP/1.".startswith(buffer[at : at + 7]):
                raise ProtocolError("The reply does not begin like HTTP/1.1.")
            return -1
        status_line, *lines = buffer[at:end].split(b"\r\n")
        match = _STATUS.fullmatch(status_line)
        if match is None:
            raise ProtocolError("The reply has no valid HTTP/1.1 status line.")
        status = int(match[2])
        headers = self._parsed(lines)
        if status < 200:
            self._interim += 1
            if status == 101 or self._interim > _MOST_INTERIM:
                raise ProtocolError(f"Status {status} was not asked for.")
            return end + 4
        self.status, self.headers = status, headers
        self._frame(is_persistent=match[1] == b"1")
        return end + 4

    def _parsed(self, lines: list[bytes]) -> dict[str, str]:
        if len(lines) > self._caps.headers:
            raise ReplyTooLarge(f"The reply has more than {self._caps.headers} headers.")
        headers: dict[str, str] = {}
        for line in lines:
            match = _HEADER.fullmatch(line)
            if match is None:
                raise ProtocolError("The reply has a malformed header.")
            name = match[1].decode("ascii").lower()
            value = match[2].decode("latin-1").rstrip(" \t")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return headers

    def _frame(self, *, is_persistent: bool) -> None:
        """Decide how the body is delimited."""
        headers = self.headers
        coding, length = headers.get("transfer-encoding"), headers.get("content-length")
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise ProtocolError("The reply is compressed, although that was not asked for.")
        self.is_reusable = is_persistent and headers.get("connection", "").lower() != "close"
        if coding is not None:
            if length is not None or coding.lower() != "chunked":
                raise ProtocolError("The reply's length is ambiguous.")
            self._state = _State.CHUNK_SIZE
        elif self.status in (204, 304):
            self._state = _State.DONE
        elif length is None:
            self.is_reusable = False
            self._state = _State.UNTIL_CLOSE
        elif _LENGTH.fullmatch(length) is None:
            raise ProtocolError("The reply's content-length is no number.")
        else:
            self._left = int(length)
            self._count(self._left)
            self._state = _State.LENGTH if self._left else _State.DONE

    def _counted(self, buffer: bytes, at: int, pieces: list[bytes]) -> int:
        """Bytes of a body or of a chunk of which `_left` are still to come."""
        end = min(len(buffer), at + self._left)
        if end == at:
            return -1
        pieces.append(buffer[at:end])
        self._left -= end - at
        if not self._left:
            self._state = _State.DONE if self._state is _State.LENGTH else _State.CHUNK_END
        return end

    def _until_close(self, buffer: bytes, at: int, pieces: list[bytes]) -> int:
        if at == len(buffer):
            return -1
        self._count(len(buffer) - at)
        pieces.append(buffer[at:])
        return len(buffer)

    def _whole_chunks(self, buffer: bytes, at: int, pieces: list[bytes]) -> int:
        """Read plain chunks that are there with all their framing; where the first other begins.

        Nearly every chunk is one; what is cut, empty, extended or wrong is left to the steps.
        """
        while (end := buffer.find(b"\r\n", at, at + 10)) > 0:
            match = _PLAIN_CHUNK.fullmatch(buffer, at, end)
            if match is None:
                break
            begin, size = end + 2, int(match[0], 16)
            if buffer[begin + size : begin + size + 2] != b"\r\n":
                break
            self._count(size)
            pieces.append(buffer[begin : begin + size])
            at = begin + size + 2
        return at

    def _chunk_size(self, buffer: bytes, at: int) -> int:
        end = buffer.find(b"\r\n", at)
        if (len(buffer) if end < 0 else end) - at > _MOST_CHUNK_LINE_BYTES:
            raise ProtocolError("A chunk's size line is too long.")
        if end < 0:
            return -1
        match = _CHUNK.fullmatch(buffer, at, end)
        if match is None:
            raise ProtocolError("A chunk's size is no number.")
        self._left = int(match[1], 16)
        self._count(self._left)
        self._state = _State.CHUNK_BODY if self._left else _State.TRAILERS
        return end + 2

    def _chunk_end(self, buffer: bytes, at: int) -> int:
        closing = buffer[at : at + 2]
        if not b"\r\n".startswith(closing):
            raise ProtocolError("A chunk is longer than it says.")
        if len(closing) < 2:
            return -1
        self._state = _State.CHUNK_SIZE
        return at + 2

    def _trailers(self, buffer: bytes, at: int) -> int:
        """Lines after the last chunk: checked like headers, then dropped."""
        end = buffer.find(b"\r\n", at)
        if (len(buffer) if end < 0 else end) - at > self._caps.head_bytes:
            raise ReplyTooLarge("The reply's trailers are too long.")
        if end < 0:
            return -1
        if end == at:
            self._state = _State.DONE
        elif _HEADER.fullmatch(buffer, at, end) is None:
            raise ProtocolError("The reply has a malformed trailer.")
        self._count(end - at)
        return end + 2

    def _count(self, size: int) -> None:
        self._body_bytes += size
        if self._body_bytes > self._caps.body_bytes:
            raise ReplyTooLarge(f"The reply is over {self._caps.body_bytes} bytes.")
