"""Holds the limits of the HTTP server: bytes, time and counts that one peer may take."""

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
"""A larger body is parsed in a thread, so that other streams are not held up meanwhile."""
MAX_READER_THREADS = 2
"""Bodies parsed in threads at the same time; more wait."""
MAX_SMALL_BODY_BYTES = 64 * 1024
"""The largest body for a route that takes neither a conversation nor texts."""
MAX_DISCARDED_BYTES = 1024 * 1024
"""How much of a refused request is still read and discarded: most clients read the answer only
after they have sent the whole request."""
MIN_HELD_BODIES = 3
"""However many workers share the memory for requests, each may hold this many of the largest
bodies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits per connection or per process, as each says; all are inclusive."""

    max_head_bytes: int = 64 * 1024
    """Request line and headers together; beyond it 431."""
    max_headers: int = 100
    """Headers of one request; beyond it 431."""
    max_target_bytes: int = 8 * 1024
    """The path with its query; beyond it 414."""
    max_body_bytes: int = 32 * 1024 * 1024
    """Beyond it 413, as soon as the length is announced or exceeded."""
    max_held_bytes: int = 256 * 1024 * 1024
    """Bytes of all requests that are being received or answered, per process; beyond it 503."""
    head_timeout_s: float = 8.0
    """From the first byte of a request (or from connecting) to the end of its headers."""
    body_timeout_s: float = 28.0
    """From the end of the headers to the end of the body."""
    idle_timeout_s: float = 75.0
    """How long a connection may wait for its next request."""
    linger_timeout_s: float = 2.0
    """How long a refused request is still read and discarded before the connection is closed."""
    stall_timeout_s: float = 60.0
    """How long a peer may read nothing of what is buffered for it."""
    write_buffer_bytes: int = 256 * 1024
    """Buffer of a reply, per connection; when it is full, the handler waits."""
    max_pipelined: int = 16
    """Requests that may wait on one connection behind the one being answered."""
    max_connections: int = 9_500
    """Per process: two descriptors each, below the usual hard limit of 20,000."""
    max_in_flight: int = 9_000
    """Requests being answered per process; beyond it 503 at once."""
    sweep_interval_s: float = 0.5
    """How often deadlines are checked; they are exceeded by at most this much."""
