"""Records which module calls which, in order."""

from __future__ import annotations

import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import NamedTuple


class Step(NamedTuple):
    """One call of a function of this project."""

    caller: str
    """The calling module."""
    callee: str
    """The called module."""
    function: str
    """The called function, with its class."""

    @property
    def package_of_caller(self) -> str:
        """The package of the calling module."""
        return self.caller.partition(".")[0]

    @property
    def package_of_callee(self) -> str:
        """The package of the called module."""
        return self.callee.partition(".")[0]


@dataclass
class Walk:
    """The calls recorded during a watch."""

    steps: list[Step] = field(default_factory=list[Step])

    def notice(self, frame: FrameType, event: str, _argument: object) -> None:
        """Record a call; called by `sys.setprofile`."""
        caller = frame.f_back
        if event != "call" or caller is None:
            return
        callee = frame.f_globals.get("__name__", "")
        if callee.startswith("devflow_"):
            name = caller.f_globals.get("__name__", "")
            self.steps.append(Step(name, callee, frame.f_code.co_qualname))


@contextmanager
def watch() -> Generator[Walk]:
    """Watch this thread and those started meanwhile; resuming a coroutine counts as a call."""
    walk = Walk()
    before = sys.getprofile()
    threading.setprofile(walk.notice)
    sys.setprofile(walk.notice)
    try:
        yield walk
    finally:
        sys.setprofile(before)
        threading.setprofile(None)  # type: ignore[arg-type] # takes None, as the library does
