"""What one peer may take: bytes, time and places."""

from __future__ import annotations

from dataclasses import dataclass


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
    head_timeout_s: float = 8.0
    """From the first byte of a request (or from connecting) to the end of its headers."""
    body_timeout_s: float = 28.0
    """From the end of the headers to the end of the body."""
    idle_timeout_s: float = 75.0
    """How long a connection may wait for its next request."""
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
