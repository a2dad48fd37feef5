"""What one peer may take: bytes, time and places. Every bound of the server stands here."""

from __future__ import annotations

from dataclasses import dataclass

MAX_JSON_VALUES = 200_000
"""Values in a request's JSON (of any kind, nested ones too); a session of a million tokens, with
all its tools, has a third of them. Beyond it 400."""
MAX_MESSAGES = 10_000
"""Messages, or items of `input`, in a request; beyond it 400."""
MAX_BLOCKS = 20_000
"""Pieces of content in all messages of a request; beyond it 400."""
MAX_TOOLS = 2_000
"""Tools in a request; beyond it 400."""
MAX_PARSED_ON_LOOP_BYTES = 128 * 1024
"""A larger body is read in a thread, so that the streams of others go on meanwhile."""
MAX_READER_THREADS = 2
"""Bodies that are read in threads at once; more wait."""
MAX_SMALL_BODY_BYTES = 64 * 1024
"""Of a request to a route that takes no conversation and no texts."""
MAX_DISCARDED_BYTES = 1024 * 1024
"""What is still read, and thrown away, of a request that was refused before its end: most clients
read the answer only when they have sent theirs."""
MIN_HELD_BODIES = 3
"""However many workers share the memory for requests, each may hold this many of the largest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Every limit is per connection or per process as it says; all are inclusive."""

    max_head_bytes: int = 64 * 1024
    """Request line and headers together; beyond it 431."""
    max_headers: int = 100
    max_target_bytes: int = 8 * 1024
    """The path with its query; beyond it 414."""
    max_body_bytes: int = 32 * 1024 * 1024
    """Beyond it 413, as soon as it is announced or seen."""
    max_held_bytes: int = 256 * 1024 * 1024
    """Of all requests that are being received or answered, per process; beyond it 503."""
    head_timeout_s: float = 8.0
    """From the first byte of a request (or from connecting) to the end of its headers."""
    body_timeout_s: float = 28.0
    """From the end of the headers to the end of the body."""
    idle_timeout_s: float = 75.0
    """How long a connection may wait for its next request."""
    linger_timeout_s: float = 2.0
    """How long a refused request is read on, and thrown away, before the connection is closed."""
    stall_timeout_s: float = 60.0
    """How long a reader may take nothing of what is buffered for it."""
    write_buffer_bytes: int = 256 * 1024
    """Of a reply, per connection; a full buffer makes the handler wait."""
    max_pipelined: int = 16
    """Requests that may wait on one connection behind the one that is being answered."""
    max_connections: int = 9_500
    """Per process: two descriptors each, below the usual hard limit of 20,000."""
    max_in_flight: int = 9_000
    """Requests being answered per process; beyond it 503 at once."""
    sweep_interval_s: float = 0.5
    """How often deadlines are looked at; they pass at most this much late."""
