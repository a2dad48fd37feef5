"""Identifies processes on one machine, so that others there notice when one has ended."""

from __future__ import annotations

import os
from pathlib import Path

_PROC = Path("/proc")
_START_FIELD = 19
"""The index, after the name, of the start time in `/proc/PID/stat`, in ticks since boot."""
_ENDED = frozenset({"Z", "X"})


def describe_this_process() -> str:
    """Return a description of this process that no other process on any machine shares.

    Returns:
        `boot/namespace/pid/start`; empty if the system does not provide these.
    """
    pid = os.getpid()
    try:
        if os.readlink(_PROC / "self") != str(pid):
            return ""  # /proc shows the processes of another namespace
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = (_PROC / "self/ns/pid").stat().st_ino
        return f"{boot}/{namespace}/{pid}/{_read_state(pid)[1]}"
    except OSError:
        return ""


def has_ended(process: str, observer: str) -> bool:
    """Return whether a process has certainly ended; False may also mean that this is unknown.

    Args:
        process: the description that the process gave of itself.
        observer: this process's own description.
    """
    place, _, who = process.rpartition("/")
    place, _, pid = place.rpartition("/")
    if not place or not observer.startswith(f"{place}/"):
        return False
    try:
        os.kill(int(pid), 0)
        state, start = _read_state(int(pid))
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return state in _ENDED or start != who


def _read_state(pid: int) -> tuple[str, str]:
    """Return a process's state, a letter, and its start time."""
    fields = (_PROC / f"{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return fields[0].decode(), fields[_START_FIELD].decode()
