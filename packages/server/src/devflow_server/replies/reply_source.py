"""Opens replies: from the pipeline, a shared call, or the cache."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Protocol

from devflow_core.events import Event, Started
from devflow_core.ledger import Book, Ledger, LedgerEntry
from devflow_core.pipeline import Pipeline
from devflow_core.request import ChatRequest

from devflow_server.off_loop import run_by_size
from devflow_server.replies.reply import HttpReply, LiveReply, ReplyMetadata
from devflow_server.replies.response_cache import (
    CachedResponse,
    ResponseCache,
    cache_key,
    may_cache,
)
from devflow_server.replies.shared_calls import SharedCall, SharedCalls, SharedReply
from devflow_server.routes import RequestContext


class ReplySource(Protocol):
    """The port through which replies are opened."""

    def open(
        self, context: RequestContext, request: ChatRequest, /
    ) -> AbstractAsyncContextManager[HttpReply]:
        """Open the reply to a request; it is entered once its first content has come.

        Leaving early cancels the call, unless others share it.

        Raises:
            DevFlowError: on entry if the call failed before any content, from the iterator if the
                reply broke off.
        """
        ...


class PipelineReplies:
    """Asks the pipeline; an identical request shares a call under way or gets the cached reply.

    Args:
        pipeline: carries requests out.
        calls: starts the calls that several requests may share.
        cache: replies that may be repeated; None: replies are neither repeated nor shared.
        book: where the entries of repeated replies become durable.
        ledger: the view that gets these entries, too.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        calls: SharedCalls,
        cache: ResponseCache | None,
        book: Book,
        ledger: Ledger,
    ) -> None:
        self._pipeline = pipeline
        self._calls = calls
        self._cache = cache
        self._book = book
        self._ledger = ledger
        self._active_calls: dict[bytes, SharedCall] = {}

    def open(
        self, context: RequestContext, request: ChatRequest, /
    ) -> AbstractAsyncContextManager[HttpReply]:
        if self._cache is None or not may_cache(request, context.exchange.request.headers):
            return self._open_direct(context, request)
        return self._open_shared(context, request, self._cache)

    @asynccontextmanager
    async def _open_direct(
        self, context: RequestContext, request: ChatRequest
    ) -> AsyncGenerator[HttpReply]:
        async with self._pipeline.stream(request, entry_id=context.request_id) as reply:
            yield LiveReply(reply)

    @asynccontextmanager
    async def _open_shared(
        self, context: RequestContext, request: ChatRequest, cache: ResponseCache
    ) -> AsyncGenerator[HttpReply]:
        find_key = partial(cache_key, request, context.caller.id)
        key = await run_by_size(len(context.exchange.request.body), find_key)
        cached = cache.get(key)
        if cached is not None:
            await self._record_cache_hit(context, request)
            yield CachedReply(cached, context.request_id)
            return
        call = self._active_calls.get(key)
        # a call that has finished is in the cache by now, or was not worth keeping
        is_own = call is None or call.is_finished or call.is_abandoned
        if call is None or is_own:
            call = self._calls.start(
                request, context.request_id, on_end=self._make_on_end(key, cache)
            )
            self._active_calls[key] = call
        async with call.read() as events:
            if not is_own:
                await self._record_cache_hit(context, request)
            yield SharedReply(call, events, is_own=is_own)

    def _make_on_end(self, key: bytes, cache: ResponseCache):
        def keep(call: SharedCall) -> None:
            if self._active_calls.get(key) is call:  # not if an abandoned call was replaced
                del self._active_calls[key]
            if call.is_finished and call.error is None and call.reply is not None:
                cache.put(key, tuple(call.events), call.reply.final_metadata())

        return keep

    async def _record_cache_hit(self, context: RequestContext, request: ChatRequest) -> None:
        """Write the entry of a request that cost nothing; durable before the reply is sent."""
        entry = LedgerEntry(
            entry_id=context.request_id,
            started_at=datetime.now(UTC),
            requested_model=request.model,
            outcome="succeeded",
            attempts=(),
            task_type="",
            complexity="",
            attribution=request.attribution,
            is_cache_hit=True,
        )
        writing = asyncio.ensure_future(self._book.close(entry))
        writing.add_done_callback(partial(self._count, entry))
        await asyncio.shield(writing)

    def _count(self, entry: LedgerEntry, writing: asyncio.Future[None]) -> None:
        """Give a written entry to the views, even if its client did not wait for it."""
        if not writing.cancelled() and writing.exception() is None:
            self._ledger.record(entry)


class CachedReply:
    """A cached reply, given to another request."""

    def __init__(self, cached: CachedResponse, request_id: str) -> None:
        self._cached = cached
        self._metadata = replace(
            cached.metadata, request_id=request_id, attempts=0, cache="hit", cost_usd=Decimal(0)
        )

    async def __aiter__(self) -> AsyncIterator[Event]:
        for event in self._cached.events:
            yield event

    def start_metadata(self, started: Started) -> ReplyMetadata:
        """Return the cached metadata: all of it is known before the reply starts."""
        return self._metadata

    def final_metadata(self) -> ReplyMetadata:
        return self._metadata
