"""What every test root shares: laws and how often they are tried, time that stands, failures told.

Deadlines in tests only end a test that hangs: `PATIENCE_S` is long for any machine. What a test
proves of time it proves on a clock that it moves itself.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import structlog
from hypothesis import is_hypothesis_test, settings

PATIENCE_S = 60.0
"""After this long something that a test waits for will not happen any more."""
EXAMPLES = 300
"""Of each law in `make test`."""
MANY_EXAMPLES = 3_000
"""Of each law in `make test-laws`, where it does not say otherwise: `@pytest.mark.laws(10_000)`."""
LOOK_S = 0.001

settings.register_profile("test", max_examples=EXAMPLES, deadline=None, print_blob=True)
settings.register_profile("laws", settings.get_profile("test"), max_examples=MANY_EXAMPLES)
# Which branches laws reach must not be a matter of luck: the tracer's run draws the same each time.
settings.register_profile(
    "traced", settings.get_profile("test"), max_examples=100, derandomize=True
)
settings.load_profile("test")  # `--hypothesis-profile laws` comes later, and wins


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every law, and give each the number of examples that it asks for."""
    is_thorough = settings.get_current_profile_name() == "laws"
    for item in items:
        function = getattr(item, "function", None)
        if function is None or not is_hypothesis_test(function):
            continue
        asked = item.get_closest_marker("laws")
        if asked is None:
            item.add_marker("laws")
        elif is_thorough and asked.args:
            _set_examples(item, function, asked.args[0])


def _set_examples(item: pytest.Item, function: Any, count: int) -> None:
    machine = getattr(item, "cls", None)
    if machine is not None:
        machine.settings = settings(machine.settings, max_examples=count)
        return
    name = "_hypothesis_internal_use_settings"  # there is no public way to change them later
    setattr(function, name, settings(getattr(function, name), max_examples=count))


class FailuresAtOnce:
    """Names a failure when it happens, not only at the end, and lets a pipe see the progress."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._count = 0

    @pytest.hookimpl(trylast=True)  # after the letter
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test, its preparation or its end is over."""
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if terminal is None:
            return
        self._count += 1
        if report.failed:
            reason = getattr(getattr(report.longrepr, "reprcrash", None), "message", "")
            first = reason.partition("\n")[0][:200]
            terminal.write_line(f"\nFAILED {report.nodeid} in its {report.when}: {first}", red=True)
        if report.failed or self._count % 100 == 0:
            terminal.flush()


def pytest_configure(config: pytest.Config) -> None:
    """Have failures told by the process that a person looks at; let children heed Ctrl-C."""
    if (
        signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    ):  # as a shell starts what it does not wait for
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(FailuresAtOnce(config), "failures-at-once")


class LoopClock:
    """The running loop's clock, standing still: timers fire only when a test moves it on.

    Sockets, threads and processes go on as ever, as fast as the machine lets them.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.now_s = loop.time()

    def __call__(self) -> float:
        """As `loop.time`."""
        return self.now_s

    def advance(self, seconds: float) -> None:
        """Move time on; due timers fire when the loop gets its turn."""
        self.now_s += seconds

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait, without time passing, until something is so."""
        await _until(condition)

    async def run_until(self, condition: Callable[[], object], *, step_s: float) -> float:
        """Let time pass in steps until something is so; how much has passed."""
        began_s = self.now_s
        while not condition():
            self.advance(step_s)
            await _breathe()
        return self.now_s - began_s


async def _breathe() -> None:
    """Let everything go on that waits for no timer: other tasks, sockets, threads."""
    for _ in range(5):
        await asyncio.sleep(0)
    await asyncio.to_thread(time.sleep, LOOK_S)  # no timer of the loop's, whose clock may stand


async def _until(condition: Callable[[], object]) -> None:
    give_up_s = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > give_up_s:
            raise TimeoutError(f"It did not come about within {PATIENCE_S:g} s.")
        await _breathe()


@pytest.fixture(autouse=True)
def _logging_as_it_comes() -> Iterator[None]:
    """What a test configures of the process's logging ends with it."""
    yield
    structlog.reset_defaults()


@pytest.fixture
async def loop_clock() -> AsyncIterator[LoopClock]:
    """Stops the loop's clock; name it behind fixtures that need time to end."""
    loop: Any = asyncio.get_running_loop()
    loop.time = clock = LoopClock(loop)
    yield clock
    del loop.time


@pytest.fixture
def eventually() -> Callable[[Callable[[], object]], Awaitable[None]]:
    """Waits until something is so, however slow the machine."""
    return _until


class Gate:
    """A step of a script, or any other wait, that tells when it is reached and ends when opened."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self._opened = asyncio.Event()

    async def __call__(self) -> None:
        """Wait here."""
        self.reached.set()
        await self._opened.wait()

    def open(self) -> None:
        """Let whoever waits here go on."""
        self._opened.set()


@pytest.fixture
def gate() -> Gate:
    """A place where a script waits until the test opens it."""
    return Gate()
