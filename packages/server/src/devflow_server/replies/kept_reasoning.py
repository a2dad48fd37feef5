"""Keeps the reasoning that a resumable reply must not hold, and gives it back to its model.

See ADR 12. Losing any of it costs only quality: the model continues without its earlier thoughts.
Each worker of a server keeps what all of them have seen, since a session's next turn may come to
another one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial

import orjson
from devflow_core.events import Event, Finished, Started
from devflow_core.messages import Reasoning
from devflow_core.request import ChatRequest
from devflow_core.response import Collector
from devflow_core.wire.anthropic_messages.resumable import (
    is_signed_by_anthropic,
    reasoning_by_call,
    restore_reasoning,
)

from devflow_server.off_loop import run_by_size
from devflow_server.peers import Peers
from devflow_server.replies.reply import HttpReply, ReplyMetadata
from devflow_server.replies.reply_source import ReplySource
from devflow_server.routes import RequestContext

MAX_KEPT_BYTES = 64 * 1024 * 1024
"""The most bytes for all callers; the least recently used go first. A turn takes about 2 kB."""
_TOPIC = "reasoning"
_OVERHEAD_BYTES = 500
"""The approximate bytes that an entry takes besides its text."""


class ReasoningMemory:
    """Reasoning in memory, by its caller and the tool call that came after it.

    Args:
        max_bytes: the most bytes that are kept for all callers together.
        peers: the other workers, which are told what is kept here.
    """

    def __init__(self, max_bytes: int = MAX_KEPT_BYTES, peers: Peers | None = None) -> None:
        self._max_bytes = max_bytes
        self._peers = peers or Peers()
        self._peers.listen(_TOPIC, self._hear)
        self._kept: OrderedDict[tuple[str, str], tuple[Reasoning, ...]] = OrderedDict()
        self.size_bytes = 0
        """The approximate number of bytes kept."""

    def __bool__(self) -> bool:
        return bool(self._kept)

    def put(self, caller_id: str, found: Mapping[str, tuple[Reasoning, ...]]) -> None:
        """Keep the reasoning of a reply, by the ids of its calls."""
        for call_id, reasoning in found.items():
            self._keep(caller_id, call_id, reasoning)
            with suppress(orjson.JSONEncodeError):  # lone surrogates; only this worker has it then
                self._peers.tell(_TOPIC, orjson.dumps([caller_id, call_id, reasoning]))

    def _hear(self, message: bytes) -> None:
        caller_id, call_id, reasoning = orjson.loads(message)
        self._keep(caller_id, call_id, tuple(Reasoning(**fields) for fields in reasoning))

    def _keep(self, caller_id: str, call_id: str, reasoning: tuple[Reasoning, ...]) -> None:
        key = caller_id, call_id
        self.size_bytes -= _size_of(self._kept.pop(key, ()))
        self._kept[key] = reasoning
        self.size_bytes += _size_of(reasoning)
        while self.size_bytes > self._max_bytes:
            _, dropped = self._kept.popitem(last=False)
            self.size_bytes -= _size_of(dropped)

    def find(self, caller_id: str, call_id: str) -> Sequence[Reasoning]:
        """Return the reasoning before a call of this caller's; empty if none is kept."""
        key = caller_id, call_id
        if key not in self._kept:
            return ()
        self._kept.move_to_end(key)
        return self._kept[key]


def _size_of(reasoning: Sequence[Reasoning]) -> int:
    if not reasoning:
        return 0
    texts = ((one.text, one.signature or "", one.encrypted or "") for one in reasoning)
    # Python keeps up to four bytes for a character
    return _OVERHEAD_BYTES + sum(4 * len(text) for group in texts for text in group)


class ReasoningKeeper:
    """Wraps a reply source: keeps the reasoning of resumable replies, and restores it in requests.

    Args:
        replies: opens the replies.
        memory: where the reasoning is kept; None makes a new one.
    """

    def __init__(self, replies: ReplySource, memory: ReasoningMemory | None = None) -> None:
        self._replies = replies
        self._memory = ReasoningMemory() if memory is None else memory  # an empty one is false

    def open(
        self, context: RequestContext, request: ChatRequest, /
    ) -> AbstractAsyncContextManager[HttpReply]:
        if request.origin is None or request.origin.resumable_as is None:
            return self._replies.open(context, request)
        return self._open(context, request)

    @asynccontextmanager
    async def _open(
        self, context: RequestContext, request: ChatRequest
    ) -> AsyncGenerator[HttpReply]:
        caller_id = context.caller.id
        if self._memory and not is_signed_by_anthropic(request.model):
            restore = partial(restore_reasoning, request, partial(self._memory.find, caller_id))
            request = await run_by_size(len(context.exchange.request.body), restore)
        async with self._replies.open(context, request) as reply:
            yield _KeptReply(reply, self._memory, caller_id)


class _KeptReply:
    """A reply whose reasoning is kept when it ends, unless Anthropic has signed it."""

    def __init__(self, reply: HttpReply, memory: ReasoningMemory, caller_id: str) -> None:
        self._reply = reply
        self._memory = memory
        self._caller_id = caller_id

    async def __aiter__(self) -> AsyncIterator[Event]:
        collector: Collector | None = None
        model = ""
        async for event in self._reply:
            if isinstance(event, Started):
                model = event.model or ""
                collector = None if is_signed_by_anthropic(model) else Collector()
            elif collector is not None:
                # before `Finished` is handed out: the client's next request may follow at once
                if isinstance(event, Finished):
                    found = reasoning_by_call(collector.parts(), model)
                    self._memory.put(self._caller_id, found)
                else:
                    collector.add(event)
            yield event

    def start_metadata(self, started: Started) -> ReplyMetadata:
        return self._reply.start_metadata(started)

    def final_metadata(self) -> ReplyMetadata:
        return self._reply.final_metadata()
