"""What the operating system may run out of: descriptors and memory. Others go on meanwhile.

Where a limit on memory is set for the process, a request is let in only while there is room for
what it will need: the JSON library, and others that are not Python, crash the process when they get
no memory. A limit on a group of processes (containers) is not seen here: there the kernel kills.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import structlog

MAX_DESCRIPTORS = 20_000
"""As many as are of use: two for each of the most connections that one process takes."""
_OTHER_DESCRIPTORS = 64
"""Kept for what is no connection: the ledger, the log, the loop."""
_MIN_CONNECTIONS = 8
_MEMORY_RESERVE_BYTES = 8 * 1024 * 1024
"""What a small request and everything beside it may need."""
_MEMORY_PER_BODY = 12
"""What a request needs at the most, as a multiple of its body: parsed, translated, written."""


def raise_descriptor_limit() -> None:
    """Have as many descriptors as the system allows this process, up to what is of use."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def connections_within(most: int) -> int:
    """How many connections there are descriptors for, each with one to a provider; at most `most`.

    Further ones are refused in words, before the system runs out and they would be cut without.
    """
    if sys.platform == "win32":
        return most
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return most
    return min(most, max(_MIN_CONNECTIONS, (soft - _OTHER_DESCRIPTORS) // 2))


class DescriptorWatch:
    """Notices when no file and no connection can be opened any more, and when that is over.

    Args:
        count: called for each look that finds none.
    """

    def __init__(self, count: Callable[[], None] = lambda: None) -> None:
        self._count = count
        self._is_out = False
        self._log = structlog.get_logger("devflow.shortages")

    def look(self) -> None:
        """Look now; costs a few microseconds."""
        try:
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
        """Why new connections are not taken; None when they are."""
        return "The system gives this process no more descriptors." if self._is_out else None


def is_memory_limited() -> bool:
    """Whether this process has a limit of its own on memory, as `ulimit -v` and `-d` set it."""
    if sys.platform == "win32":
        return False
    import resource

    limits = (resource.RLIMIT_AS, resource.RLIMIT_DATA)
    return any(resource.getrlimit(one)[0] != resource.RLIM_INFINITY for one in limits)


def check_memory(body_bytes: int) -> None:
    """Whether there is room for a request with such a body; asks for it and gives it back.

    Raises:
        MemoryError: there is not.
    """
    bytes(_MEMORY_RESERVE_BYTES + _MEMORY_PER_BODY * body_bytes)  # zeroes that no page holds yet
