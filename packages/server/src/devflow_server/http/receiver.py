"""Parses a connection's bytes into requests; one that comes in pieces is admitted by its head.

A request that arrives in one piece goes straight to its handler and is admitted there. Of any
other, the head is shown to the application first: until it is admitted, nothing more is read from
the socket, and the bytes read so far count as unadmitted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from devflow_core.errors import PayloadTooLarge, QueueFull

from devflow_server.http.held_bytes import HeldBytes, Holder
from devflow_server.http.limits import Limits
from devflow_server.http.message import Admission, Request
from devflow_server.http.request_parser import Phase, RequestParser

_HEAD_BYTES = 1024
"""The size assumed for a waiting request besides its body."""
_STEP_BYTES = 64 * 1024
"""The steps in which room is taken for a body of unannounced length."""
Admit = Callable[[Request], Admission | Coroutine[Any, Any, Admission]]
"""Decides on a request by its head.

At once if it can, as for callers seen recently; otherwise in the coroutine that it returns.
"""


def too_many_bytes() -> QueueFull:
    """Return the refusal of a request for whose bytes there is no room."""
    return QueueFull(
        "This gateway holds as many bytes of requests as it may. Ask again in a moment, or set"
        " max_held_bytes higher.",
        retry_after_s=1.0,
    )


class ReceivingHost(Protocol):
    """The listener as the receiver needs it."""

    limits: Limits
    admit: Admit
    held: HeldBytes
    loop: asyncio.AbstractEventLoop


class ByteSource(Protocol):
    """The transport that the bytes come from."""

    def pause_reading(self) -> None:
        """Stop reading from the socket."""
        ...

    def resume_reading(self) -> None:
        """Resume reading from the socket."""
        ...


class Receiving(Holder, Protocol):
    """The connection as its receiver needs it."""

    def wake(self) -> None:
        """Check for a request to answer: an awaited admission has been decided."""
        ...


class Receiver:
    """Turns a connection's bytes into requests: the connection calls `feed`, then `next_request`.

    Args:
        host: limits, and the decision on admission.
        source: paused while nothing more may be read.
        connection: woken after an admission; evicted if it holds too much.
        peer: address of the socket's other end.
    """

    def __init__(
        self, host: ReceivingHost, source: ByteSource, connection: Receiving, peer: str
    ) -> None:
        self._host = host
        self._source = source
        self._connection = connection
        self._parser = RequestParser(host.limits, peer)
        self._waiting: deque[Request] = deque()
        self._waiting_bytes = 0
        self._incomplete_bytes = 0
        self._unadmitted_bytes = 0
        self._admission: Admission | None = None
        self._asking: asyncio.Task[Admission] | None = None
        self._taken_bytes = 0
        self._is_paused = False
        self._is_stopped = False

    @property
    def phase(self) -> Phase:
        """The part of a request that is arriving."""
        return self._parser.phase

    @property
    def has_waiting(self) -> bool:
        """Whether a request waits to be answered."""
        return bool(self._waiting)

    def feed(self, received: bytes) -> None:
        """Take in received bytes.

        Raises:
            RequestRejected: the bytes are not an acceptable request.
        """
        completed = self._parser.feed(received)
        # first: the admission held so far belongs to the first of the completed requests
        if completed:
            self._take_in(completed)
        if self._parser.phase == "body" and not self._is_stopped:
            self._receive_body()
        if self._parser.phase != "idle":
            self._incomplete_bytes += len(received)

    def count(self) -> None:
        """Report how many unadmitted bytes are held; call it after starting complete requests."""
        if self._parser.phase != "idle" or self._unadmitted_bytes or self._waiting:
            self._count_unadmitted()

    def next_request(self) -> Request:
        """Return the next request to answer; call it only if one waits."""
        request = self._waiting.popleft()
        if not request.held_bytes:
            self._waiting_bytes -= len(request.body) + _HEAD_BYTES
        if self._unadmitted_bytes:
            self._count_unadmitted()
        self._update_reading()
        return request

    def take_continue(self) -> bool:
        """Return whether to tell the peer now to send its body; True once per request."""
        is_due = self._parser.wants_continue and self._admission is not None
        if is_due:
            self._parser.wants_continue = False
        return is_due

    def drop(self) -> None:
        """Discard everything received that is not being answered, and accept no more."""
        # first, so that nothing that has arrived is counted below
        self._is_stopped = True
        self._parser.stop()
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None
        for request in self._waiting:
            self._host.held.give_back(request.owner, request.held_bytes)
        self._waiting.clear()
        self._waiting_bytes = 0
        self._give_back()
        self._count_unadmitted()

    def discard_rest(self) -> None:
        """Resume reading for a caller that discards what arrives."""
        if self._is_paused:
            self._is_paused = False
            self._source.resume_reading()

    def _take_in(self, completed: list[Request]) -> None:
        if self._asking is not None:  # it is complete by now: its handler admits it
            self._asking.cancel()
            self._asking = None
        if self._admission is not None:
            first = completed[0]
            first.admission = self._admission
            first.owner, first.held_bytes = self._admission.owner, self._taken_bytes
            self._admission, self._taken_bytes = None, 0
        for request in completed:
            if not request.held_bytes:
                self._waiting_bytes += len(request.body) + _HEAD_BYTES
        self._waiting.extend(completed)
        self._update_reading()

    def _receive_body(self) -> None:
        if self._admission is None:
            if self._asking is None:
                self._ask()
        elif not self._take(self._admission):
            self._refuse(
                self._parser.read_head(), replace(self._admission, refusal=too_many_bytes())
            )

    def _ask(self) -> None:
        """Show the head to the application, which usually knows the caller and decides at once."""
        head = self._parser.read_head()
        answer = self._host.admit(head)
        if isinstance(answer, Admission):
            self._admit(head, answer)
            return
        self._asking = asking = self._host.loop.create_task(answer)
        self._update_reading()
        asking.add_done_callback(partial(self._on_answer, head))

    def _on_answer(self, head: Request, asking: asyncio.Task[Admission]) -> None:
        # it was dropped meanwhile, or is complete by now: then its handler admits it
        if asking.cancelled() or self._asking is not asking:
            return
        self._asking = None
        self._admit(head, asking.result())
        self._update_reading()
        self._connection.wake()
        self._count_unadmitted()

    def _admit(self, head: Request, admission: Admission) -> None:
        refusal = admission.refusal
        max_bytes = admission.max_body_bytes
        # the size comes first: bytes are taken only for a body that may come at all
        if refusal is None and max_bytes is not None and not self._parser.limit_body(max_bytes):
            refusal = PayloadTooLarge(f"This path takes bodies of {max_bytes} bytes at the most.")
        if refusal is None and not self._take(admission):
            refusal = too_many_bytes()
        if refusal is None:
            self._admission = admission
        else:
            self._refuse(head, replace(admission, refusal=refusal))

    def _refuse(self, head: Request, admission: Admission) -> None:
        """Pass the request on without its body, for its handler to report why; accept no more."""
        self._give_back()
        self._parser.stop()
        self._is_stopped = True
        head.admission, head.is_last = admission, True
        self._waiting.append(head)
        self._waiting_bytes += _HEAD_BYTES
        self._update_reading()

    def _take(self, admission: Admission) -> bool:
        """Take room for the body: for all of it if its length is known."""
        wanted = self._parser.announced_bytes
        if wanted is None:
            wanted = -(-self._parser.body_bytes // _STEP_BYTES) * _STEP_BYTES
        more = wanted - self._taken_bytes
        if more > 0 and not self._host.held.take(admission.owner, more):
            return False
        self._taken_bytes += max(0, more)
        return True

    def _give_back(self) -> None:
        if self._admission is not None:
            self._host.held.give_back(self._admission.owner, self._taken_bytes)
            self._admission, self._taken_bytes = None, 0

    def _count_unadmitted(self) -> None:
        is_counted = self._parser.phase != "idle" and self._admission is None
        if not is_counted or self._is_stopped:
            self._incomplete_bytes = 0
        count = self._incomplete_bytes + self._waiting_bytes
        if count != self._unadmitted_bytes:
            self._unadmitted_bytes = count
            self._host.held.hold_unadmitted(self._connection, count)

    def _update_reading(self) -> None:
        must_pause = (
            self._is_stopped
            or self._asking is not None
            or len(self._waiting) > self._host.limits.max_pipelined
        )
        if must_pause != self._is_paused:
            self._is_paused = must_pause
            if must_pause:
                self._source.pause_reading()
            else:
                self._source.resume_reading()
