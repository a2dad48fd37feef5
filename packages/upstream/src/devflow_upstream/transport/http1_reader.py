"""Reads one HTTP/1.1 reply from bytes, strictly: an ambiguous reply is refused.

With a lenient reader, one reply can be read as two; so a length together with chunking, a folded
header, a bare line feed or a chunk longer than its size are errors here (RFC 9112, sections 5.2,
6.1 to 6.3 and 7.1, read 2026-11-21).

The reader is a state machine. It buffers only an element that is cut, and moves on when an element
is complete:

    state        reads                         next state
    HEAD         status line and headers       HEAD after an interim reply (1xx but 101),
                                               else by the framing:
                 … chunked                     CHUNK_SIZE
                 … 204, 304 or length 0        DONE
                 … content-length n            LENGTH
                 … neither                     UNTIL_CLOSE
    LENGTH       n bytes of the body           DONE
    UNTIL_CLOSE  the body, to the end          DONE when the connection closes
    CHUNK_SIZE   a size line                   CHUNK_BODY, or TRAILERS after size 0
    CHUNK_BODY   the bytes of a chunk          CHUNK_END
    CHUNK_END    CR LF                         CHUNK_SIZE
    TRAILERS     lines, checked and dropped    DONE after an empty line
    DONE         nothing                       bytes that follow forbid the reuse of the connection

The end of the connection is an error in every state but UNTIL_CLOSE and DONE.
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
_MAX_INTERIM_REPLIES = 8
"""The most interim replies (1xx) that are skipped; after more, the reply is refused as not HTTP."""
_MAX_CHUNK_LINE_BYTES = 1024
"""The most bytes of a chunk's size line, extensions included: it is buffered until it ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyLimits:
    """The size limits of a reply."""

    max_head_bytes: int = 64 * 1024
    """The most bytes of the status line with all headers, and of each trailer."""
    max_headers: int = 128
    """The most lines of the head after the status line."""
    max_body_bytes: int = 64 * 1024 * 1024
    """The most bytes of the whole body, with the trailers of a chunked one."""


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
    """Turns bytes of one reply into pieces of its body; every reply needs a new reader.

    Args:
        limits: the size limits of the reply.
    """

    def __init__(self, limits: ReplyLimits) -> None:
        self.status = 0
        """The HTTP status; 0 until the head has come."""
        self.headers: dict[str, str] = {}
        """The headers by name in lower case; values of a repeated one are joined by a comma."""
        self.is_reusable = False
        """Whether the connection may carry another exchange; valid only once `is_done`."""
        self._limits = limits
        self._state = _State.HEAD
        self._buffer = b""
        self._remaining_bytes = 0
        self._body_bytes = 0
        self._interim_replies = 0

    @property
    def has_begun(self) -> bool:
        """Whether any byte has arrived, even of an interim reply."""
        return bool(self._buffer or self.status or self._interim_replies)

    @property
    def is_done(self) -> bool:
        """Whether the whole reply has come."""
        return self._state is _State.DONE

    def feed(self, data: bytes) -> list[bytes]:
        """Return the pieces of the body in `data`.

        Raises:
            ProtocolError: the bytes are not an HTTP/1.1 reply.
            ReplyTooLarge: head or body are over their limit.
        """
        buffer = self._buffer + data if self._buffer else data
        pieces: list[bytes] = []
        offset = 0
        while self._state is not _State.DONE:
            if self._state is _State.CHUNK_SIZE:
                offset = self._read_plain_chunks(buffer, offset, pieces)
            used = self._step(buffer, offset, pieces)
            if used < 0:
                break
            offset = used
        self._buffer = buffer[offset:]
        if self._state is _State.DONE and self._buffer:
            self.is_reusable = False  # bytes that belong to no request
            self._buffer = b""
        return pieces

    def finish(self) -> None:
        """Record that the connection has ended.

        Raises:
            Incomplete: it ended inside the body.
            ProtocolError: it ended inside the head.
        """
        if self._state is _State.UNTIL_CLOSE:
            self._state = _State.DONE
        elif self._state is _State.HEAD:
            raise ProtocolError("The provider closed the connection inside the head of its reply.")
        elif self._state is not _State.DONE:
            raise Incomplete("The provider closed the connection inside the body of its reply.")

    def _step(self, buffer: bytes, offset: int, pieces: list[bytes]) -> int:
        """Read one element from `offset`; return where it ends, or -1 if more bytes are needed."""
        match self._state:
            case _State.CHUNK_SIZE:
                return self._read_chunk_size(buffer, offset)
            case _State.CHUNK_BODY | _State.LENGTH:
                return self._read_sized(buffer, offset, pieces)
            case _State.CHUNK_END:
                return self._read_chunk_end(buffer, offset)
            case _State.HEAD:
                return self._read_head(buffer, offset)
            case _State.UNTIL_CLOSE:
                return self._read_until_close(buffer, offset, pieces)
            case _:
                return self._read_trailers(buffer, offset)

    def _read_head(self, buffer: bytes, offset: int) -> int:
        end = buffer.find(b"\r\n\r\n", offset)
        if (len(buffer) if end < 0 else end) - offset > self._limits.max_head_bytes:
            raise ReplyTooLarge(f"The reply's head is over {self._limits.max_head_bytes} bytes.")
        if end < 0:
            if not b"HTTP/1.".startswith(buffer[offset : offset + 7]):
                raise ProtocolError("The reply does not begin like HTTP/1.1.")
            return -1
        status_line, *lines = buffer[offset:end].split(b"\r\n")
        match = _STATUS.fullmatch(status_line)
        if match is None:
            raise ProtocolError("The reply has no valid HTTP/1.1 status line.")
        status = int(match[2])
        headers = self._parse_headers(lines)
        if status < 200:
            self._interim_replies += 1
            if status == 101 or self._interim_replies > _MAX_INTERIM_REPLIES:
                raise ProtocolError(f"Status {status} was not asked for.")
            return end + 4
        self.status, self.headers = status, headers
        self._choose_framing(is_persistent=match[1] == b"1")
        return end + 4

    def _parse_headers(self, lines: list[bytes]) -> dict[str, str]:
        if len(lines) > self._limits.max_headers:
            raise ReplyTooLarge(f"The reply has more than {self._limits.max_headers} headers.")
        headers: dict[str, str] = {}
        for line in lines:
            match = _HEADER.fullmatch(line)
            if match is None:
                raise ProtocolError("The reply has a malformed header.")
            name = match[1].decode("ascii").lower()
            value = match[2].decode("latin-1").rstrip(" \t")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return headers

    def _choose_framing(self, *, is_persistent: bool) -> None:
        """Decide how the body is delimited.

        Raises:
            ProtocolError: it is compressed, or its length is malformed or ambiguous.
            ReplyTooLarge: the length is over the limit.
        """
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
            raise ProtocolError("The reply's content-length is not a number.")
        else:
            self._remaining_bytes = int(length)
            self._count_body_bytes(self._remaining_bytes)
            self._state = _State.LENGTH if self._remaining_bytes else _State.DONE

    def _read_sized(self, buffer: bytes, offset: int, pieces: list[bytes]) -> int:
        """Read bytes of a body or a chunk of which `_remaining_bytes` are still to come."""
        end = min(len(buffer), offset + self._remaining_bytes)
        if end == offset:
            return -1
        pieces.append(buffer[offset:end])
        self._remaining_bytes -= end - offset
        if not self._remaining_bytes:
            self._state = _State.DONE if self._state is _State.LENGTH else _State.CHUNK_END
        return end

    def _read_until_close(self, buffer: bytes, offset: int, pieces: list[bytes]) -> int:
        if offset == len(buffer):
            return -1
        self._count_body_bytes(len(buffer) - offset)
        pieces.append(buffer[offset:])
        return len(buffer)

    def _read_plain_chunks(self, buffer: bytes, offset: int, pieces: list[bytes]) -> int:
        """Read the complete plain chunks at `offset`; return where the first other one begins.

        Nearly all chunks are plain; those that are cut, empty, extended or malformed are left to
        `_step`.
        """
        while (end := buffer.find(b"\r\n", offset, offset + 10)) > 0:
            match = _PLAIN_CHUNK.fullmatch(buffer, offset, end)
            if match is None:
                break
            begin, size = end + 2, int(match[0], 16)
            if buffer[begin + size : begin + size + 2] != b"\r\n":
                break
            self._count_body_bytes(size)
            pieces.append(buffer[begin : begin + size])
            offset = begin + size + 2
        return offset

    def _read_chunk_size(self, buffer: bytes, offset: int) -> int:
        end = buffer.find(b"\r\n", offset)
        if (len(buffer) if end < 0 else end) - offset > _MAX_CHUNK_LINE_BYTES:
            raise ProtocolError("A chunk's size line is too long.")
        if end < 0:
            return -1
        match = _CHUNK.fullmatch(buffer, offset, end)
        if match is None:
            raise ProtocolError("A chunk's size is not a number.")
        self._remaining_bytes = int(match[1], 16)
        self._count_body_bytes(self._remaining_bytes)
        self._state = _State.CHUNK_BODY if self._remaining_bytes else _State.TRAILERS
        return end + 2

    def _read_chunk_end(self, buffer: bytes, offset: int) -> int:
        closing = buffer[offset : offset + 2]
        if not b"\r\n".startswith(closing):
            raise ProtocolError("A chunk is longer than it says.")
        if len(closing) < 2:
            return -1
        self._state = _State.CHUNK_SIZE
        return offset + 2

    def _read_trailers(self, buffer: bytes, offset: int) -> int:
        """Read one line after the last chunk: it is checked like a header, then dropped.

        Return where the next one begins; -1 if the line is not complete yet.

        Raises:
            ProtocolError: it is malformed.
            ReplyTooLarge: it is too long, or the whole body is.
        """
        end = buffer.find(b"\r\n", offset)
        if (len(buffer) if end < 0 else end) - offset > self._limits.max_head_bytes:
            raise ReplyTooLarge("The reply's trailers are too long.")
        if end < 0:
            return -1
        if end == offset:
            self._state = _State.DONE
        elif _HEADER.fullmatch(buffer, offset, end) is None:
            raise ProtocolError("The reply has a malformed trailer.")
        self._count_body_bytes(end - offset)
        return end + 2

    def _count_body_bytes(self, size: int) -> None:
        self._body_bytes += size
        if self._body_bytes > self._limits.max_body_bytes:
            raise ReplyTooLarge(f"The reply is over {self._limits.max_body_bytes} bytes.")
