"""Runs work under a deadline, and writes to a reader that may be gone, both without errors."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


def try_within(seconds: float, work: Callable[[], T], otherwise: T) -> T:
    """Return the result of the work; `otherwise` if it fails or takes too long.

    Work that hangs continues in a daemon thread, which does not keep the process alive.
    """
    done: list[T] = []

    def run() -> None:
        try:
            done.append(work())
        except Exception:  # noqa: BLE001 - no failure may disturb the person at work
            return

    # a thread, since a blocking read cannot be interrupted otherwise; daemon, so that exit ends it
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    return done[0] if done else otherwise


def write_quietly(text: str) -> None:
    """Write UTF-8 to standard output; it is not an error if the reader has gone."""
    with writing_quietly():
        sys.stdout.buffer.write(text.encode(errors="replace"))
        sys.stdout.flush()


@contextmanager
def writing_quietly() -> Generator[None]:
    """Ignore that the reader of standard output has gone while the block writes to it.

    After such an error, the block ends and standard output leads to the null device.
    """
    try:
        yield
    except (OSError, AttributeError, ValueError):
        # leave nothing buffered that the interpreter would try to write at exit
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
