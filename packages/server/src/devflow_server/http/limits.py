"""Holds the limits of the HTTP server: bytes, time and counts that one peer may take."""

from __future__ import annotations

from dataclasses import dataclass

MAX_JSON_VALUES = 200_000
"""The most values in a request's JSON (of any kind, nested ones too); more get 400.

A session of a million tokens, with all its tools, has a third of them.
"""
MAX_MESSAGES = 10_000
"""The most messages, or items of `input`, in a request; more get 400."""
MAX_BLOCKS = 20_000
"""The most pieces of content in all messages of a request; more get 400."""
MAX_TOOLS = 2_000
"""The most tools in a request; more get 400."""
MAX_PARSED_ON_LOOP_BYTES = 128 * 1024
"""The largest body parsed on the event loop; larger ones would hold up the other streams."""
MAX_READER_THREADS = 2
"""The most bodies parsed in threads at the same time; more wait."""
MAX_SMALL_BODY_BYTES = 64 * 1024
"""The largest body for a route that takes neither a conversation nor texts."""
MAX_DISCARDED_BYTES = 1024 * 1024
"""The most bytes of a refused request that are still read and discarded.

Most clients read the answer only after they have sent the whole request.
"""
MIN_HELD_BODIES = 3
"""The number of bodies of the largest size that each worker may hold even if its share is less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits per connection or per process, as each says; all are inclusive."""

    max_head_bytes: int = 64 * 1024
    """The most bytes of the request line and headers together; beyond it 431."""
    max_headers: int = 100
    """The most headers of one request; beyond it 431."""
    max_target_bytes: int = 8 * 1024
    """The most bytes of the path with its query; beyond it 414."""
    max_body_bytes: int = 32 * 1024 * 1024
    """The most bytes of a body; beyond it 413, as soon as the length is announced or exceeded."""
    max_held_bytes: int = 256 * 1024 * 1024
    """The most bytes of all requests being received or answered, per process; beyond it 503."""
    head_timeout_s: float = 8.0
    """Seconds from the first byte of a request (or from connecting) to the end of its headers."""
    body_timeout_s: float = 28.0
    """Seconds from the end of the headers to the end of the body."""
    idle_timeout_s: float = 75.0
    """Seconds that a connection may wait for its next request."""
    linger_timeout_s: float = 2.0
    """Seconds that a refused request is read and discarded before the connection is closed."""
    stall_timeout_s: float = 60.0
    """Seconds that a peer may read nothing of what is buffered for it."""
    write_buffer_bytes: int = 256 * 1024
    """The size of a reply's buffer, per connection; when it is full, the handler waits."""
    max_pipelined: int = 16
    """The most requests that may wait on one connection behind the one being answered."""
    max_connections: int = 9_500
    """The most connections per process: two descriptors each, below the usual limit of 20,000."""
    max_in_flight: int = 9_000
    """The most requests being answered per process; beyond it 503 at once."""
    sweep_interval_s: float = 0.5
    """Seconds between two checks of the deadlines, which are exceeded by at most this much."""
