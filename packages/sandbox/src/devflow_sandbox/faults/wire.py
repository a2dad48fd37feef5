"""Applies faults below the content: timing, framing, connections, and bytes that are not HTTP.

Each public function is a `FaultHandler`: it returns the new steps of the answer.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable, Iterable, Iterator

from devflow_sandbox.faults.schema import (
    DropFault,
    EndlessFault,
    FloodFault,
    FramingFault,
    RawFault,
    RedirectFault,
    RefuseFault,
    SlowFault,
    StaleFault,
    StallFault,
    TruncateFault,
)
from devflow_sandbox.faults.steps import byte_count, is_event, split_at
from devflow_sandbox.message import COMMENT, DONE, Answer, DropConnection, Pause, Step
from devflow_sandbox.replies.generation import Generation

_BLOCK_BYTES = 64 * 1024
"""The size of the blocks in which a flood is sent, so that it is never in memory as a whole."""
_HOUR_S = 3600.0
"""The longest single pause; a stall without an end is made of such pauses."""

# Attacks and accidents below HTTP: request smuggling, a bad chunk, an injected header, an
# impossible status, another protocol.
_RAW = {
    "cl_te": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "bad_chunk": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "header_injection": b"HTTP/1.1 200 OK\r\nX-Bad: a\rSet-Cookie: b=c\r\n"
    b"Content-Length: 2\r\n\r\n{}",
    "status_999": b"HTTP/1.1 999 What\r\nContent-Length: 2\r\n\r\n{}",
    "ssh_banner": b"SSH-2.0-OpenSSH_9.7\r\n",
}


def drop(
    fault: DropFault, answer: Answer, steps: list[Step], generation: Generation | None
) -> list[Step]:
    """End the connection: before the head if the fault has no position, otherwise in the body."""
    how = DropConnection(fault.how)
    if fault.at is None:
        answer.framing = "raw"
        return [how]
    before, _ = split_at(steps, fault.at)
    return [*before, how]


def slow_down(
    fault: SlowFault, answer: Answer, steps: list[Step], generation: Generation | None
) -> list[Step]:
    """Delay the head, the body or every event."""
    answer.head_delay_s += fault.head_s
    answer.dribble_s = fault.dribble_s
    late: list[Step] = [Pause(fault.ttft_s)] if fault.ttft_s else []
    for step in steps:
        if fault.gap_s and is_event(step):
            late.append(Pause(fault.gap_s))
        late.append(step)
    return late


def stall(
    fault: StallFault, answer: Answer, steps: list[Step], generation: Generation | None
) -> Iterable[Step]:
    """Stop in the middle of the reply; the rest follows if the stall ends."""
    before, after = split_at(steps, fault.at)
    return _stall_steps(fault, before, after)


def _stall_steps(fault: StallFault, before: list[Step], after: list[Step]) -> Iterator[Step]:
    yield from before
    left_s = fault.for_s
    while left_s is None or left_s > 0:
        pause_s = min(fault.comment_every_s or _HOUR_S, left_s or _HOUR_S)
        yield Pause(pause_s)
        if fault.comment_every_s is not None:
            yield COMMENT
        left_s = None if left_s is None else left_s - pause_s
    yield from after


def truncate(
    fault: TruncateFault, answer: Answer, steps: list[Step], generation: Generation | None
) -> list[Step]:
    """End too soon, without an error; the fault's framing decides what a client can notice."""
    before, _ = split_at(steps, fault.at)
    if fault.framing == "chunked":
        return before
    if fault.framing == "gzip":
        # cut in the compressed bytes, so that the stream's own check fails
        packed = gzip.compress(b"".join(step for step in steps if isinstance(step, bytes)))
        share = byte_count(before) / max(1, byte_count(steps))
        answer.headers.append(("Content-Encoding", "gzip"))
        answer.framing = "close"
        return [packed[: max(12, int(len(packed) * share))]]
    if fault.framing == "length":
        answer.headers.append(("Content-Length", str(byte_count(steps))))
        answer.framing = "length"
        return [*before, DropConnection.CLOSE]
    answer.framing = "close"
    return before


def flood(
    fault: FloodFault, answer: Answer, steps: list[Step], generation: Generation | None
) -> Iterable[Step]:
    """Send far too much data: in the head, or as a body produced while it is sent."""
    if fault.what == "header":
        answer.headers.append(("X-Flood", "x" * fault.size))
        return steps
    if fault.what == "headers":
        answer.headers += [(f"X-Flood-{number}", "x") for number in range(fault.size)]
        return steps
    if fault.what == "gzip":
        answer.headers.append(("Content-Encoding", "gzip"))
        return _flood_gzip(fault.size)
    answer.framing = "chunked"
    return _flood_line(fault.size) if fault.what == "line" else _flood_body(fault.size, steps)


def _flood_line(wanted: int) -> Iterator[Step]:
    yield b'data: {"choices":[{"index":0,"delta":{"content":"'
    for start in range(0, wanted, _BLOCK_BYTES):
        yield b"x" * min(_BLOCK_BYTES, wanted - start)
    yield b'"}}]}\n\n'


def _flood_body(wanted: int, steps: list[Step]) -> Iterator[Step]:
    """Repeat the reply's first event; if it is a single body, send white space before it."""
    events = [step for step in steps if isinstance(step, bytes) and is_event(step)][:1]
    block = events[0] * max(1, _BLOCK_BYTES // len(events[0])) if events else b" " * _BLOCK_BYTES
    sent = 0
    while sent < wanted:
        yield block
        sent += len(block)
    yield from steps


def _flood_gzip(wanted: int) -> Iterator[Step]:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    for _ in range(0, wanted, _BLOCK_BYTES):
        packed = packer.compress(b" " * _BLOCK_BYTES)
        if packed:
            yield packed
    yield packer.flush()


def repeat_forever(
    fault: EndlessFault, answer: Answer, steps: list[Step], generation: Generation | None
) -> Iterator[Step]:
    """Send the reply without its end, then repeat its events forever."""
    # without the finish and the usage, which would end the reply
    middle = [step for step in steps if isinstance(step, bytes) and is_event(step)][:-2]
    yield from steps[: len(steps) - 3]
    while True:
        for step in middle or [b" "]:
            if fault.gap_s:
                yield Pause(fault.gap_s)
            yield step


def redirect(
    fault: RedirectFault, answer: Answer, steps: list[Step], generation: Generation | None
) -> list[Step]:
    """Redirect the client to another address; the body is empty."""
    answer.status, answer.framing = fault.status, "length"
    answer.headers = [("Location", fault.location)]
    return []


def send_raw(
    fault: RawFault, answer: Answer, steps: list[Step], generation: Generation | None
) -> list[Step]:
    """Send bytes that are not HTTP, and close the connection."""
    answer.framing = "raw"
    text = _RAW[fault.preset] if fault.preset is not None else fault.text.encode("latin-1")
    return [text, DropConnection.CLOSE]


def refuse(
    fault: RefuseFault, answer: Answer, steps: list[Step], generation: Generation | None
) -> list[Step]:
    """Reset the connection before the head, and stop listening for a while."""
    answer.framing, answer.refuse_s = "raw", fault.for_s
    return [DropConnection.RESET]


def make_stale(
    fault: StaleFault, answer: Answer, steps: list[Step], generation: Generation | None
) -> list[Step]:
    """Answer, then reset the connection when it is used again."""
    answer.close_after = True
    return steps


def reframe(
    fault: FramingFault, answer: Answer, steps: list[Step], generation: Generation | None
) -> list[Step]:
    """Return the same stream, cut or written differently; pauses and drops are left out."""
    stream = b"".join(step for step in steps if isinstance(step, bytes))
    reframed = _REFRAMERS[fault.form](stream) if fault.form in _REFRAMERS else stream
    if fault.form == "bytewise":
        return [stream[index : index + 1] for index in range(len(stream))]
    if fault.form == "split_crlf":
        lines = stream.replace(b"\n", b"\r\n").split(b"\r\n")
        parts: list[Step] = []
        for line in lines[:-1]:
            parts += [line + b"\r", b"\n"]
        return [*parts, lines[-1]]
    return [reframed]


_TEXT_FIELD = re.compile(rb'"(?:content|text|delta)":"')
"""The beginning of a reply's text, in any dialect."""
_LATE_CHUNK = b'data: {"choices":[{"index":0,"delta":{"content":"too late"}}]}\n\n'
_LATE_EVENT = (
    b"event: content_block_delta\n"
    b'data: {"type":"content_block_delta","index":0,'
    b'"delta":{"type":"text_delta","text":"too late"}}\n\n'
)
_Reframer = Callable[[bytes], bytes]
_REFRAMERS: dict[str, _Reframer] = {
    "crlf": lambda stream: stream.replace(b"\n", b"\r\n"),
    "cr_only": lambda stream: stream.replace(b"\n", b"\r"),
    "bom": lambda stream: b"\xef\xbb\xbf" + stream,
    "no_space": lambda stream: stream.replace(b"data: ", b"data:"),
    # a line break between JSON tokens changes nothing
    "multi_line": lambda stream: stream.replace(b'data: {"', b'data: {\ndata: "'),
    "comments": lambda stream: stream.replace(b"\n\n", b"\n\n:\n: OPENROUTER PROCESSING\n\n"),
    "line_separator": lambda stream: _TEXT_FIELD.sub(rb"\g<0>" + b"\xe2\x80\xa8", stream, 3),
    "bad_utf8": lambda stream: _TEXT_FIELD.sub(rb"\g<0>" + b"\xff\xfe", stream, 2),
    "after_done": lambda stream: stream + (_LATE_CHUNK if DONE in stream else _LATE_EVENT),
    "event_names": lambda stream: stream.replace(b"data: ", b"event: message\ndata: "),
    "ids_and_retry": lambda stream: stream.replace(b"data: ", b"id: 7\nretry: 10\ndata: "),
}
