"""Runs coroutines in an event loop of a thread of its own, for programs that have no loop."""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import AsyncIterable, Callable, Coroutine, Iterator
from concurrent.futures import Future, wait
from contextlib import AbstractAsyncContextManager, suppress
from contextvars import Context, copy_context
from typing import Any, Generic, TypeVar

from devflow_core.errors import ConfigurationError, DevFlowError

T = TypeVar("T")
_GRACE_S = 30.0
"""Seconds that an interrupted call may take to be booked as cancelled; it takes milliseconds."""
MAX_STOP_S = 60.0
"""Seconds that calls may take to be booked and the context to be left; it takes milliseconds."""
MAX_AHEAD = 64
"""The number of unread values at which the reading of a stream pauses."""


class StillClosing(DevFlowError):
    """A gateway did not close in time: a call, a connection or the ledger holds it up."""

    def __init__(self, waited_s: float) -> None:
        super().__init__(
            f"The gateway has not closed within {waited_s:g} s. It goes on in its thread. If"
            " the program ends before that, calls stay booked with the most that they may cost,"
            " until `devflow reconcile` corrects them."
        )


class LoopThread:
    """A thread with an event loop, inside which one context stays entered.

    Its methods, except `spawn`, may be called from any thread but its own.

    Args:
        life: entered when the thread starts and left when it ends, in one task.
        name: of the thread.
        instead: the asynchronous class, for whoever calls from inside the loop.
        max_stop_s: how long `stop` waits, in seconds.
    """

    def __init__(
        self,
        life: AbstractAsyncContextManager[object],
        *,
        name: str,
        instead: str,
        max_stop_s: float = MAX_STOP_S,
    ) -> None:
        self._life = life
        self._max_stop_s = max_stop_s
        self._instead = instead
        self._started: Future[asyncio.AbstractEventLoop] = Future()
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._outcomes: set[Future[Any]] = set()
        self._thread = threading.Thread(target=self._run_loop, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread, and return when the context is entered.

        Raises:
            BaseException: what entering the context raises; the thread has ended by then.
        """
        try:
            self._thread.start()
            self._started.result()
        except BaseException:
            with suppress(StillClosing):  # interrupted; that is what the caller is to know
                self.stop()
            raise
        atexit.register(self.stop)  # for a program that ends without leaving the gateway

    def stop(self) -> None:
        """Cancel the calls under way, leave the context, and wait until the thread has ended.

        Raises:
            StillClosing: it has not ended in time; it goes on, and ends with the program at last.
        """
        atexit.unregister(self.stop)
        self._started.add_done_callback(self._request_end)  # also while the context is entered
        if self._thread.is_alive():  # or it was interrupted before it ran, and ends by itself
            self._thread.join(self._max_stop_s)
        if self._thread.is_alive():
            raise StillClosing(self._max_stop_s)

    def _request_end(self, started: Future[asyncio.AbstractEventLoop]) -> None:
        if started.exception() is None:
            with suppress(RuntimeError):  # the loop has ended
                started.result().call_soon_threadsafe(self._stop.set)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the loop and return its result.

        Ctrl-C cancels the coroutine, and is raised once that has ended, after at most 30 s.

        Raises:
            ConfigurationError: this is the loop's own thread, or the loop ended before the
                coroutine.
            BaseException: what the coroutine raises.
        """
        if threading.current_thread() is self._thread:
            work.close()
            raise ConfigurationError(
                "The synchronous object was called from its own thread, where it would wait for"
                f" itself. Call {self._instead} there."
            )
        context, outcome = copy_context(), Future[T]()
        tasks: list[asyncio.Task[T]] = []

        def begin() -> None:
            task = self.spawn(work, context)
            tasks.append(task)
            task.add_done_callback(lambda ended: _settle(outcome, ended))

        self._outcomes.add(outcome)
        try:
            self._call_soon(begin)
        except ConfigurationError:  # the loop has ended
            self._outcomes.discard(outcome)
            work.close()
            raise
        try:
            return outcome.result()
        except BaseException:
            if not outcome.done():  # not the coroutine's own error: Ctrl-C, or a signal handler's
                self._call_soon(lambda: [task.cancel() for task in tasks])
                wait([outcome], timeout=_GRACE_S)
            raise
        finally:
            self._outcomes.discard(outcome)

    @property
    def is_running(self) -> bool:
        """Whether the loop takes calls."""
        return self._thread.is_alive() and not self._stop.is_set()

    def spawn(self, work: Coroutine[Any, Any, T], context: Context) -> asyncio.Task[T]:
        """Start a task, which `stop` cancels; called inside the loop."""
        task = asyncio.get_running_loop().create_task(work, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _call_soon(self, callback: Callable[[], object]) -> None:
        try:
            self._started.result().call_soon_threadsafe(callback)
        except RuntimeError as error:  # the loop has ended
            raise _closed() from error

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine in the loop, and return the future of its result, for other loops.

        Cancelling the future cancels the coroutine.

        Raises:
            ConfigurationError: the loop has ended.
        """
        if not self._thread.is_alive():
            work.close()
            raise ConfigurationError("It is closed; open it again.")

        async def run() -> T:
            task = asyncio.current_task()
            assert task is not None  # noqa: S101 - a coroutine runs in one
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return await work

        return asyncio.run_coroutine_threadsafe(run(), self._started.result())

    def _run_loop(self) -> None:
        try:
            asyncio.run(self._live())
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits for it
            if not self._started.done():
                self._started.set_exception(error)
        finally:
            for outcome in tuple(self._outcomes):  # of calls that came too late to begin
                if not outcome.done():
                    outcome.set_exception(_closed())

    async def _live(self) -> None:
        async with self._life:
            self._started.set_result(asyncio.get_running_loop())
            await self._stop.wait()
            under_way = tuple(self._tasks)
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)


def _settle(outcome: Future[T], task: asyncio.Task[T]) -> None:
    """Give the outcome of a task to the thread that waits for it."""
    if task.cancelled():
        outcome.set_exception(_closed())
    elif (error := task.exception()) is not None:
        outcome.set_exception(error)
    else:
        outcome.set_result(task.result())


def _closed() -> ConfigurationError:
    return ConfigurationError("The gateway was closed before this call had ended.")


class Relay(Generic[T]):
    """An asynchronous stream as a plain iterator: one task reads it, up to `MAX_AHEAD` ahead.

    Args:
        thread: its loop reads the stream.
        source: entered for the stream, and left by the same task.
    """

    def __init__(
        self, thread: LoopThread, source: AbstractAsyncContextManager[AsyncIterable[T]]
    ) -> None:
        self._thread = thread
        self._source = source
        self._ahead: list[T] = []
        self._ready, self._room = asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def open(self) -> AsyncIterable[T]:
        """Enter the source, and return the stream that it yields.

        Raises:
            BaseException: what entering raises.
        """
        return self._thread.run(self._open())

    def close(self) -> None:
        """Leave the source; a stream that is not read to its end is cancelled."""
        if self._thread.is_running:  # otherwise its end has cancelled the stream
            self._thread.run(self._close())

    def __iter__(self) -> Iterator[T]:
        while batch := self._thread.run(self._next_batch()):
            yield from batch

    async def _open(self) -> AsyncIterable[T]:
        opened: asyncio.Future[AsyncIterable[T]] = asyncio.get_running_loop().create_future()
        self._task = self._thread.spawn(self._read(opened), copy_context())
        self._task.add_done_callback(lambda _task: self._ready.set())
        try:
            await asyncio.wait([opened, self._task], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await self._close()
            raise
        if not opened.done():
            self._task.result()
        return opened.result()

    async def _read(self, opened: asyncio.Future[AsyncIterable[T]]) -> None:
        async with self._source as stream:
            opened.set_result(stream)
            async for one in stream:
                self._ahead.append(one)
                self._ready.set()
                if len(self._ahead) >= MAX_AHEAD:
                    self._room.clear()
                    await self._room.wait()

    async def _next_batch(self) -> list[T]:
        """Return the next values, or an empty list at the end."""
        await self._ready.wait()
        batch, self._ahead = self._ahead, []
        self._room.set()
        assert self._task is not None  # noqa: S101 - opened
        if self._task.done():
            if not batch:
                self._task.result()
        else:
            self._ready.clear()
        return batch

    async def _close(self) -> None:
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._task is not None and not self._task.cancelled():
            self._task.exception()  # the reader has seen it, or left before
