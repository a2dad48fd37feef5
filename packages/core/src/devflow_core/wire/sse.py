"""Reads and writes server-sent events as bytes.

Libraries split lines on U+2028, lose the first event to a BOM and buffer without a limit; so this
is our own reader, after the WHATWG's definition (html.spec.whatwg.org, section 9.2.6).

An event is a block of lines that ends with a blank line; a line ends with CR LF, LF or CR. The
reader has no states but three facts about the bytes so far:

    fact          changes                       decides
    pending       bytes after the last event    what the next bytes are appended to
    has_cr        true after the first CR       whether any line end is searched, or LF LF only
    is_first      false after the first event   whether a BOM is removed

    line          effect on the event
    data: x       x is appended to the data, after an LF if there is data already
    event: x      x becomes the event's name
    :, others     none; a block without data is a comment
"""

from __future__ import annotations

import re
from typing import NamedTuple

from devflow_core.errors import ReplyTooLarge

MAX_EVENT_BYTES = 1 << 20
"""The size limit of one event in bytes, inclusive; language models send smaller ones."""

_BOM = b"\xef\xbb\xbf"
# atomic, so that CR LF is never taken for two line ends
_EVENT_END = re.compile(rb"(?>\r\n|\r|\n)(?>\r\n|\r|\n)")
_LINE_END = re.compile(rb"\r\n|\r|\n")


class SseFrame(NamedTuple):
    """One event, or comments between events."""

    event: str | None
    """The `event:` field; None if there is none."""
    data: bytes | None
    """The `data:` lines joined by LF; None for comments and blank lines, which are not progress."""
    raw: bytes
    """The bytes as received, with the closing blank line."""
    is_cut: bool = False
    """Whether the stream ended before the blank line; `data` may be incomplete then."""
    is_checked: bool = True
    """Whether all bytes of `raw` beyond ASCII are in `data`, so that parsing `data` checks them."""


def encode(data: bytes, event: str | None = None) -> bytes:
    """Return one event as bytes; `data` must not contain line ends (one-line JSON does not)."""
    if event is None:
        return b"data: %b\n\n" % data
    return b"event: %b\ndata: %b\n\n" % (event.encode(), data)


class SseReader:
    """Turns bytes into frames; how the bytes are cut does not change events and data.

    The `raw` of all frames, joined, is the input. Only if a CR LF is cut in two right after an
    event does its LF move to the `raw` of the next frame.

    Args:
        max_event_bytes: the size limit of one event, inclusive.
    """

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._pending = bytearray()
        self._scanned = 0
        self._has_cr = False
        self._is_first = True

    def feed(self, chunk: bytes) -> list[SseFrame]:
        """Return the frames that these bytes complete.

        Raises:
            ReplyTooLarge: an event is over the limit.
        """
        pending = self._pending
        self._has_cr = self._has_cr or b"\r" in chunk
        if pending:
            pending += chunk
            buffer: bytes | bytearray = pending
            scan_from = self._scanned
        else:
            buffer = chunk
            scan_from = 0
        frames: list[SseFrame] = []
        start = self._split_frames(buffer, scan_from, frames)
        if buffer is pending:
            del pending[:start]
        elif start < len(chunk):
            pending += chunk[start:]
        # a block's end has at most four bytes: bytes further back need not be searched again
        self._scanned = max(0, len(pending) - 3)
        if len(pending) > self._max_event_bytes:
            raise self._too_large()
        return frames

    def close(self) -> list[SseFrame]:
        """Return the event that the end of the stream left without its blank line, if any."""
        pending = bytes(self._pending)
        self._pending.clear()
        if not pending:
            return []
        frame = self._parse(pending, pending + b"\n\n")
        return [frame._replace(is_cut=True)] if frame.data is not None else []

    def _split_frames(
        self, buffer: bytes | bytearray, scan_from: int, frames: list[SseFrame]
    ) -> int:
        """Append the complete frames; return where the rest begins.

        Raises:
            ReplyTooLarge: an event is over the limit.
        """
        start = 0
        if self._has_cr:
            while (end := _EVENT_END.search(buffer, scan_from)) is not None:
                raw = bytes(buffer[start : end.end()])
                frames.append(self._parse(raw[: end.start() - start], raw))
                start = scan_from = end.end()
            return start
        while (index := buffer.find(b"\n\n", scan_from)) >= 0:
            raw = bytes(buffer[start : index + 2])
            # nearly every event is one data line
            if raw.startswith(b"data: ") and raw.find(b"\n", 6) == len(raw) - 2:
                if len(raw) > self._max_event_bytes:
                    raise self._too_large()
                self._is_first = False
                frames.append(SseFrame(None, raw[6:-2], raw))
            else:
                frames.append(self._parse(raw[:-2], raw))
            start = scan_from = index + 2
        return start

    def _parse(self, block: bytes, raw: bytes) -> SseFrame:
        if len(block) > self._max_event_bytes:
            raise self._too_large()
        if self._is_first:
            self._is_first = False
            block = block.removeprefix(_BOM)
        event: str | None = None
        data: list[bytes] = []
        for line in _LINE_END.split(block):
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if name == b"data":
                data.append(value)
            elif name == b"event":
                event = value.decode(errors="replace")
        return SseFrame(event, b"\n".join(data) if data else None, raw, False, raw.isascii())

    def _too_large(self) -> ReplyTooLarge:
        return ReplyTooLarge(
            f"The provider sent an event of more than {self._max_event_bytes} bytes;"
            " the reply was dropped. Ask again, or ask another model."
        )
