"""Joins an open book with the parts of a gateway that need one: to ask, and to report."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace

from devflow_core.errors import InvalidRequest
from devflow_core.ledger import Book
from devflow_core.pipeline import Pipeline, Reply
from devflow_core.ports import ContextInjector
from devflow_core.request import ChatRequest
from devflow_core.summary import LedgerReader
from devflow_store.keyed_replies import KeyedReplies


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedBook:
    """The parts of a gateway that need an open book."""

    book: Book
    reader: LedgerReader
    """The source of reports."""
    pipeline: Pipeline
    """Carries out chat requests."""
    embeddings: Pipeline
    """Carries out requests for embeddings."""
    keyed: KeyedReplies
    """Opens replies under idempotency keys."""

    def stream(
        self,
        request: ChatRequest,
        session: ContextInjector | None,
        *,
        entry_id: str | None = None,
        key: str | None = None,
    ) -> AbstractAsyncContextManager[Reply]:
        """Open a reply, once per idempotency key if there is one; see `Pipeline.stream`.

        Raises:
            InvalidRequest: both an entry id and a key are given.
        """
        if key is None:
            return self.pipeline.stream(request, session=session, entry_id=entry_id)
        if entry_id is not None:
            raise InvalidRequest("Give an entry_id or an idempotency_key, which brings its own.")
        return self.keyed.open(
            key,
            request,
            session,
            lambda own_id: self.pipeline.stream(request, session=session, entry_id=own_id),
        )

    @asynccontextmanager
    async def stream_embeddings(
        self, request: ChatRequest, session: ContextInjector | None, key: str | None
    ) -> AsyncGenerator[Reply]:
        """Open the reply to a request for embeddings; a session adds its labels alone."""
        if session is not None:
            labelled = await session.inject(request)
            request = replace(request, attribution=labelled.attribution)
        if key is None:
            opened = self.embeddings.stream(request)
        else:
            opened = self.keyed.open(
                key,
                request,
                session,
                lambda own_id: self.embeddings.stream(request, entry_id=own_id),
            )
        async with opened as reply:
            yield reply


def inject_now(request: ChatRequest, session: ContextInjector) -> ChatRequest:
    """Return the request with a session's context, without an event loop.

    Raises:
        InvalidRequest: the session waits for something, such as the network.
        SessionError: the session cannot be read.
    """
    injecting = session.inject(request)
    try:
        injecting.send(None)
    except StopIteration as done:
        return done.value
    injecting.close()
    raise InvalidRequest(
        "session: this one waits for something, which `explain` cannot. Give it the request that"
        " `await session.inject(request)` returns."
    )
