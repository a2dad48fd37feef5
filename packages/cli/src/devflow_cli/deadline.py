"""Work that may fail or hang without anybody being disturbed: what Claude Code runs by itself."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


def try_within(seconds: float, work: Callable[[], T], otherwise: T) -> T:
    """What the work gives; something else where it fails or is not done in time.

    Work that hangs goes on in a thread that does not keep the process alive.
    """
    done: list[T] = []

    def run() -> None:
        try:
            done.append(work())
        except Exception:  # noqa: BLE001 - whatever it is, the person at work is not disturbed
            return

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    return done[0] if done else otherwise


def write_quietly(text: str) -> None:
    """Write to standard output, in UTF-8; a reader that is gone or never was is no failure."""
    with writing_quietly():
        sys.stdout.buffer.write(text.encode(errors="replace"))
        sys.stdout.flush()


@contextmanager
def writing_quietly() -> Generator[None]:
    """A block that writes to standard output; nobody has to be there to read it."""
    try:
        yield
    except (OSError, AttributeError, ValueError):
        # nothing may be left that the interpreter would try to write at its end
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
