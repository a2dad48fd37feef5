"""Which process of a machine one is, so that others there can tell that it has ended."""

from __future__ import annotations

import os
from pathlib import Path

_PROC = Path("/proc")
_START_FIELD = 19
"""Of `/proc/PID/stat` after the name: when the process began, in ticks since the boot."""
_ENDED = frozenset({"Z", "X"})


def describe_this_process() -> str:
    """This process, as no other one of this or another machine is described.

    Returns:
        `boot/namespace/pid/start`; empty where the system does not tell.
    """
    pid = os.getpid()
    try:
        if os.readlink(_PROC / "self") != str(pid):
            return ""  # what is mounted there are the processes of another namespace
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = (_PROC / "self/ns/pid").stat().st_ino
        return f"{boot}/{namespace}/{pid}/{_read_state(pid)[1]}"
    except OSError:
        return ""


def has_ended(process: str, observer: str) -> bool:
    """Whether a process has ended for certain; False also says that it cannot be told from here.

    Args:
        process: as it has described itself.
        observer: as this process describes itself.
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
    """Its state, a letter, and when it began."""
    fields = (_PROC / f"{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return fields[0].decode(), fields[_START_FIELD].decode()
