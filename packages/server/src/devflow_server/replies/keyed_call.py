"""Holds the progress of a request with an idempotency key, carried out by a task of the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from devflow_core.errors import DevFlowError
from devflow_core.request import ChatRequest
from devflow_core.wire import Dialect
from devflow_store import Claim

from devflow_server.http.message import Header
from devflow_server.replies.reply import ReplyMetadata
from devflow_server.replies.signal import Signal
from devflow_server.replies.stored_response import StoredResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedRequest:
    """A request with the idempotency key it was sent under."""

    scope: str
    """The id of the caller that owns the key."""
    key: str
    """The idempotency key as the client sent it."""
    fingerprint: str
    """A hash of everything that determines the reply."""
    entry_id: str
    """The request's id, also in the ledger."""
    request: ChatRequest
    dialect: Dialect
    secrets: tuple[str, ...] = field(repr=False)
    """The keys sent with it, masked in all output until the call has ended."""


class KeyedCall:
    """The progress of a keyed request, written by the task that carries it out."""

    def __init__(self, keyed: KeyedRequest) -> None:
        self.keyed = keyed
        self.head: list[Header] = []
        """Headers with the metadata of a stream that has begun."""
        self.metadata: ReplyMetadata | None = None
        """The metadata of a complete reply; None before its end, and if it failed."""
        self.failure: DevFlowError | None = None
        """Why there is no complete reply; None while there may be one."""
        self.response: StoredResponse | None = None
        """The reply or the failure, once the call has ended; None before."""
        self._claim: Claim | None = None
        self._pieces: list[bytes] = []
        self._sent_bytes = 0
        self._changes = Signal()

    @property
    def has_begun(self) -> bool:
        """Whether a part of the stream was given to readers."""
        return bool(self._pieces)

    def set_claim(self, claim: Claim) -> None:
        """Set the result of the claim."""
        self._claim = claim
        self._changes.notify()

    def add(self, piece: bytes) -> None:
        """Add the next part of the stream; an empty one is ignored."""
        if piece:
            self._pieces.append(piece)
            self._sent_bytes += len(piece)
            self._changes.notify()

    def finish(self, response: StoredResponse) -> None:
        """End the call, unless it has ended; readers get the rest of the stream."""
        if self.response is None:
            self.response = response
            if self.has_begun:
                # the recorder held the end of the stream back; it follows the pieces sent so far
                self._pieces.append(response.body[self._sent_bytes :])
            self._changes.notify()

    def fail(self, error: DevFlowError) -> None:
        """Report that the key could not be claimed; `wait_for_claim` then raises the error."""
        self.failure = error
        self._changes.notify()

    async def wait_for_claim(self) -> Claim:
        """Wait for the result of the claim.

        Raises:
            DevFlowError: the key could not be claimed.
        """
        while self._claim is None:
            if self.failure is not None:
                raise self.failure
            await self._changes.wait()
        return self._claim

    async def wait_for_response(self) -> StoredResponse:
        """Wait for the end of the call, and return its reply, which may be a failure."""
        while self.response is None:
            await self._changes.wait()
        return self.response

    async def read(self) -> AsyncIterator[bytes]:
        """Yield the stream from its beginning; nothing if the call failed before it began."""
        seen = 0
        while True:
            while seen < len(self._pieces):
                yield self._pieces[seen]
                seen += 1
            if self.response is not None:
                return
            await self._changes.wait()
