"""Holds a reply that is iterated for its events without an event loop."""

from __future__ import annotations

from collections.abc import Iterator

from devflow_core.events import Event
from devflow_core.ledger import LedgerEntry
from devflow_core.pipeline import Reply
from devflow_core.request import ChatRequest
from devflow_core.routing import Route


class StreamedReply:
    """A reply that has begun: iterate it for its events; `Reply` without an event loop."""

    def __init__(self, reply: Reply, events: Iterator[Event]) -> None:
        self._reply = reply
        self._events = events

    @property
    def request(self) -> ChatRequest:
        """The request, with its context."""
        return self._reply.request

    @property
    def route(self) -> Route:
        """The route that was taken."""
        return self._reply.route

    @property
    def entry(self) -> LedgerEntry | None:
        """The ledger's entry of this request; None until the reply has ended."""
        return self._reply.entry

    @property
    def entry_id(self) -> str:
        """The id of this request in the ledger."""
        return self._reply.entry_id

    def __iter__(self) -> Iterator[Event]:
        return self._events
