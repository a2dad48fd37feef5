"""Sends pings on streams whose provider is silent, so that their clients do not give up."""

from __future__ import annotations

from collections.abc import Sequence

from devflow_core.wire import Dialect

from devflow_server.http import Exchange
from devflow_server.http.message import Header

PING_INTERVAL_S = 4.0
"""Seconds of silence on a stream after which the next sweep sends a ping.

OpenAI's SDKs give up after 5 s if the caller set a bare `timeout=5`, Claude Code after 300 s;
providers send comments every few seconds.
"""

# a comment of server-sent events, which clients skip
_COMMENT = b": devflow is waiting for the provider\n\n"


class LiveStream:
    """A streamed reply whose head is sent with the first event or the first ping."""

    def __init__(self, exchange: Exchange, dialect: Dialect, headers: Sequence[Header]) -> None:
        self._exchange = exchange
        self._ping = dialect.ping or _COMMENT
        self._headers = headers

    def start(self, headers: Sequence[Header] = ()) -> None:
        """Send the head, unless a ping has sent it; `headers` come after the fixed ones."""
        if not self._exchange.is_started:
            self._exchange.start(200, [*self._headers, *headers])

    def ping_if_silent(self, now_s: float) -> None:
        """Send a ping if nothing was sent for `PING_INTERVAL_S`; `now_s` is the monotonic time."""
        if now_s - self._exchange.last_write_s < PING_INTERVAL_S or self._exchange.is_finished:
            return
        self.start()
        self._exchange.write_now(self._ping)


class KeepAlive:
    """The streams that may need pings; the listener's sweep calls `send_pings`."""

    def __init__(self) -> None:
        self.streams: set[LiveStream] = set()
        """The streams under way; the handler of a stream adds and removes it."""

    def send_pings(self, now_s: float) -> None:
        """Send a ping on every silent stream; `now_s` is the monotonic time."""
        for stream in tuple(self.streams):
            stream.ping_if_silent(now_s)
