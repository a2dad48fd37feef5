"""Distinguishes errors of this machine's limits from errors of the provider."""

from __future__ import annotations

import errno
import os
import re

from devflow_core.errors import MachineExhausted

_DESCRIPTORS = "file descriptors: raise the limit (ulimit -n, LimitNOFILE=)"
_MEMORY = "memory: raise its limit, or lower max_concurrency"
_LACKING: dict[int, str] = {
    errno.EMFILE: f"{_DESCRIPTORS} or lower max_concurrency",
    errno.ENFILE: f"{_DESCRIPTORS} and fs.file-max",
    errno.ENOMEM: _MEMORY,
    errno.ENOBUFS: "memory for sockets: close connections, or raise net.core.wmem_max",
    errno.EADDRNOTAVAIL: "free local ports: widen net.ipv4.ip_local_port_range, or wait a minute",
    errno.ENOSPC: "room on its disk: free some",
}
"""errno → what is lacking, and what to do."""
_ERRNO = re.compile(r"\[Errno (\d+)\]")
_THREADS = "threads: raise the limit (ulimit -u, TasksMax=)"


def machine_error(error: BaseException) -> MachineExhausted | None:
    """Return the error to raise instead if a limit of this machine caused this one, otherwise None.

    Causes are followed, and so are the errors of several addresses, of which asyncio keeps only the
    text. Any failure of the system counts if no file can be opened either: the resolver has no
    error of its own for that, and reports what it stumbled over, even a device that is busy.
    """
    seen: BaseException | None = error
    while seen is not None:
        what = _what_lacks(seen)
        if what is not None:
            found = MachineExhausted(
                f"No provider was asked: this machine has no more {what}.", retry_after_s=1.0
            )
            found.__cause__ = error
            return found
        seen = seen.__cause__ or seen.__context__
    return None


def _what_lacks(error: BaseException) -> str | None:
    if isinstance(error, MemoryError):
        return _MEMORY
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return _THREADS
    if not isinstance(error, OSError):
        return None
    numbers = [error.errno] if error.errno else [int(one) for one in _ERRNO.findall(str(error))]
    known = next((_LACKING[number] for number in numbers if number in _LACKING), None)
    return known or (None if _can_open_a_file() else _LACKING[errno.EMFILE])


def _can_open_a_file() -> bool:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return False
    return True
