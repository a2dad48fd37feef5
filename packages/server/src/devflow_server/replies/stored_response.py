"""Keeps a reply byte for byte as it was sent, to be sent again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import orjson
from devflow_core.errors import DevFlowError, Incomplete
from devflow_core.events import Event, Finished, Started
from devflow_core.request import ChatRequest
from devflow_core.response import Collector
from devflow_core.wire import Dialect

from devflow_server.error_responses import error_headers, id_headers
from devflow_server.http import Exchange
from devflow_server.http.message import Header
from devflow_server.replies.held_usage import HeldUsage
from devflow_server.replies.reply import HttpReply, ReplyMetadata

STREAM_HEADERS = (("content-type", "text/event-stream"), ("cache-control", "no-cache"))
JSON_HEADER = ("content-type", "application/json")
_OF_EVERY_REPLY = frozenset({"content-type", *(name for name, _ in id_headers(""))})


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResponse:
    """A complete reply or a complete stream, with its headers."""

    status: int
    request_id: str
    metadata: Mapping[str, str]
    """Its headers, besides the content type and the ids that every reply has."""
    body: bytes
    event: str = ""
    """The failure as an event, for a stream that a ping has begun; empty if the body serves it."""

    def encode(self) -> bytes:
        """Return the reply for the store: a line of JSON without the body, then the body."""
        head = {
            "status": self.status,
            "request_id": self.request_id,
            "metadata": dict(self.metadata),
            "event": self.event,
        }
        return orjson.dumps(head) + b"\n" + self.body

    @classmethod
    def decode(cls, payload: bytes) -> StoredResponse:
        """Return a reply from what `encode` has returned."""
        head, _, body = payload.partition(b"\n")
        return cls(**orjson.loads(head), body=body)

    def send(self, exchange: Exchange, headers: list[Header], *, is_stream: bool) -> None:
        """Send the reply; in a stream that a ping has begun, only its body or the failure's event.

        Args:
            exchange: the request that is answered.
            headers: sent besides the reply's own, unless the stream has begun.
            is_stream: whether the client asked for a stream.
        """
        if exchange.is_started:
            # a failure has an event for streams; a complete stream is the body itself
            exchange.write_now(self.event.encode() or self.body)
            exchange.finish()
            return
        kind = STREAM_HEADERS if is_stream and self.status == 200 else (JSON_HEADER,)
        ids = id_headers(self.request_id)
        exchange.respond(self.status, self.body, [*kind, *ids, *headers, *self.metadata.items()])


def failed_response(
    error: DevFlowError, request: ChatRequest, dialect: Dialect, entry_id: str
) -> StoredResponse:
    """Return the reply for a failure that came before the reply had begun."""
    event = (
        dialect.make_encoder(request).encode_error(error, entry_id) if request.is_stream else b""
    )
    headers = error_headers(error, entry_id)
    return StoredResponse(
        status=dialect.status_of(error),
        request_id=entry_id,
        metadata={name: value for name, value in headers if name not in _OF_EVERY_REPLY},
        body=dialect.encode_error(error, entry_id),
        event=event.decode(),
    )


class ResponseRecorder:
    """Encodes the events of a reply, so that what is stored is what was sent.

    Args:
        request: the request that is answered.
        dialect: its client's dialect.
        entry_id: its id in the ledger.
    """

    def __init__(self, request: ChatRequest, dialect: Dialect, entry_id: str) -> None:
        self.metadata: ReplyMetadata | None = None
        """The metadata of a complete reply; None before its end."""
        self.head: list[Header] = []
        """The metadata headers of a reply that has begun."""
        self._request = request
        self._dialect = dialect
        self._entry_id = entry_id
        self._collector = Collector()
        self._encoder = dialect.make_encoder(request)
        self._held = HeldUsage(self._encoder)
        self._pieces: list[bytes] = []
        self._has_begun = False

    @property
    def has_begun(self) -> bool:
        """Whether any event of the reply has come."""
        return self._has_begun

    def add(self, event: Event, reply: HttpReply) -> bytes:
        """Add an event; return what may be sent now, which excludes the end of the stream."""
        self._has_begun = True
        if isinstance(event, Started):
            self.head = reply.start_metadata(event).headers()
        elif isinstance(event, Finished):
            self.metadata = reply.final_metadata()
            self._encoder.annotate(self.metadata.annotations())
        if not self._request.is_stream:
            self._collector.add(event)
            return b""
        piece = self._held.encode(event)
        self._pieces.append(piece)
        # a client may see the end only once the reply is stored, so that a retry gets the same
        return b"" if self.metadata is not None else piece

    def close(self, failure: DevFlowError | None) -> StoredResponse:
        """Return the complete reply; `failure` is what ended it early, or None."""
        if failure is None and self.metadata is not None:
            return self._close_whole(self.metadata)
        failure = failure or Incomplete("The reply has no end.")
        if not self._request.is_stream or not self._has_begun:
            return failed_response(failure, self._request, self._dialect, self._entry_id)
        end = self._held.release() + self._encoder.encode_error(failure, self._entry_id)
        return self._response({}, b"".join([*self._pieces, end]))

    def _close_whole(self, metadata: ReplyMetadata) -> StoredResponse:
        headers = dict(metadata.headers())
        if self._request.is_stream:
            return self._response(headers, b"".join(self._pieces))
        whole, notes = self._collector.to_response(), metadata.annotations()
        return self._response(headers, self._dialect.encode_response(whole, self._request, notes))

    def _response(self, headers: Mapping[str, str], body: bytes) -> StoredResponse:
        return StoredResponse(status=200, request_id=self._entry_id, metadata=headers, body=body)
