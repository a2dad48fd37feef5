"""Handles what the operating system may run out of: descriptors and memory.

If the process has a memory limit, a request is admitted only while there is room for what it will
need: the JSON library, and other code that is not Python, crashes the process when it gets no
memory. Limits on groups of processes (containers) are not seen here: there the kernel kills.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import structlog

MAX_DESCRIPTORS = 20_000
"""The most descriptors that can be used: two for each connection a process accepts at most."""
_OTHER_DESCRIPTORS = 64
"""Descriptors kept for everything but connections: the ledger, the log, the loop."""
# enough to answer health checks and an operator, however low the limit is
_MIN_CONNECTIONS = 8
_MEMORY_RESERVE_BYTES = 8 * 1024 * 1024
"""The bytes that a small request and everything else at that moment may need."""
_MEMORY_PER_BODY = 12
"""The most a request needs, as a multiple of its body: parsed, translated, written."""


def raise_descriptor_limit() -> None:
    """Raise the descriptor limit as far as the system allows, up to `MAX_DESCRIPTORS`."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def connections_within(most: int) -> int:
    """Return how many connections there are descriptors for: two for each; 8 to `most`.

    Further ones are refused with a reply; without descriptors they would be cut off without one.
    """
    if sys.platform == "win32":
        return most
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return most
    return min(most, max(_MIN_CONNECTIONS, (soft - _OTHER_DESCRIPTORS) // 2))


class DescriptorWatch:
    """Notices when the process runs out of descriptors, and when it has some again.

    Args:
        count: called for each check that finds no free descriptor.
    """

    def __init__(self, count: Callable[[], None] = lambda: None) -> None:
        self._count = count
        self._is_out = False
        self._log = structlog.get_logger("devflow.shortages")

    def look(self) -> None:
        """Check now; takes a few microseconds."""
        try:
            # the cheapest call that needs a descriptor
            os.close(os.open(os.devnull, os.O_RDONLY))
        except OSError as error:
            self._count()
            if not self._is_out:
                self._log.error("no_descriptors_left", error=error.strerror)
            self._is_out = True
            return
        if self._is_out:
            self._log.warning("descriptors_left_again")
        self._is_out = False

    def problem(self) -> str | None:
        """Return why new connections are not taken; None if they are."""
        return "The system gives this process no more descriptors." if self._is_out else None


def is_memory_limited() -> bool:
    """Return whether this process has its own memory limit, as set by `ulimit -v` or `-d`."""
    if sys.platform == "win32":
        return False
    import resource

    limits = (resource.RLIMIT_AS, resource.RLIMIT_DATA)
    return any(resource.getrlimit(one)[0] != resource.RLIM_INFINITY for one in limits)


def check_memory(body_bytes: int) -> None:
    """Check that there is room for a request with such a body, by allocating and freeing it.

    Raises:
        MemoryError: there is no room.
    """
    bytes(
        _MEMORY_RESERVE_BYTES + _MEMORY_PER_BODY * body_bytes
    )  # zeroed memory: reserved, but no page is touched
