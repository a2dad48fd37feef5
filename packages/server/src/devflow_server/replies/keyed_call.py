"""One request with an idempotency key, carried out by a task of the server's: clients only read."""

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
    """What is carried out, and the key that stands for it."""

    scope: str
    """Whose key it is."""
    key: str
    fingerprint: str
    entry_id: str
    request: ChatRequest
    dialect: Dialect
    secrets: tuple[str, ...] = field(repr=False)
    """The keys that came with it: masked everywhere until it is over."""


class KeyedCall:
    """What has come of a keyed request so far; the task that carries it out writes it."""

    def __init__(self, keyed: KeyedRequest) -> None:
        self.keyed = keyed
        self.head: list[Header] = []
        """What the headers say of a stream that has begun."""
        self.metadata: ReplyMetadata | None = None
        """Of a reply that is whole."""
        self.failure: DevFlowError | None = None
        """Why there is no whole reply."""
        self.response: StoredResponse | None = None
        """The whole of it, at its end."""
        self._claim: Claim | None = None
        self._pieces: list[bytes] = []
        self._sent_bytes = 0
        self._changes = Signal()

    @property
    def has_begun(self) -> bool:
        """Whether a part of the stream was given out."""
        return bool(self._pieces)

    def set_claim(self, claim: Claim) -> None:
        """It is known who carries the request out."""
        self._claim = claim
        self._changes.notify()

    def add(self, piece: bytes) -> None:
        """The next part of the stream."""
        if piece:
            self._pieces.append(piece)
            self._sent_bytes += len(piece)
            self._changes.notify()

    def finish(self, response: StoredResponse) -> None:
        """It is over; the rest of the stream is given out."""
        if self.response is None:
            self.response = response
            if self.has_begun:
                self._pieces.append(response.body[self._sent_bytes :])
            self._changes.notify()

    def fail(self, error: DevFlowError) -> None:
        """It was not claimed, and never will be by this call."""
        self.failure = error
        self._changes.notify()

    async def wait_for_claim(self) -> Claim:
        """Who carries the request out.

        Raises:
            DevFlowError: it could not be claimed.
        """
        while self._claim is None:
            if self.failure is not None:
                raise self.failure
            await self._changes.wait()
        return self._claim

    async def wait_for_response(self) -> StoredResponse:
        """The whole of it."""
        while self.response is None:
            await self._changes.wait()
        return self.response

    async def read(self) -> AsyncIterator[bytes]:
        """The stream as it comes, from its beginning; nothing of one that has failed before it."""
        seen = 0
        while True:
            while seen < len(self._pieces):
                yield self._pieces[seen]
                seen += 1
            if self.response is not None:
                return
            await self._changes.wait()
