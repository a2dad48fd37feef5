"""Holds the usage event back until the cost that belongs in it is known."""

from __future__ import annotations

from devflow_core.events import Event, Opaque
from devflow_core.wire import EventEncoder

MAX_HELD_EVENTS = 64
"""The most events held, the usage among them; beyond it the usage is sent without the cost."""


class HeldUsage:
    """Encodes events in order; the latest usage event waits for the end of the reply.

    Providers send a usage with every chunk, or with the finish reason and once more: each is sent,
    and the last one includes the encoder's annotations.

    Args:
        encoder: the reply's encoder.
    """

    def __init__(self, encoder: EventEncoder) -> None:
        self._encoder = encoder
        self._held: list[Opaque] = []

    def encode(self, event: Event) -> bytes:
        """Return the bytes that may be sent now; a held event adds none of its own."""
        if isinstance(event, Opaque) and event.kind == "usage":
            # providers repeat the usage; only the last report waits for the cost
            earlier = self.release()
            self._held.append(event)
            return earlier
        if not self._held:
            return self._encoder.encode(event)
        if isinstance(event, Opaque) and len(self._held) < MAX_HELD_EVENTS:
            self._held.append(event)
            return b""
        return self.release() + self._encoder.encode(event)

    def release(self) -> bytes:
        """Return the held events, encoded; for a reply that breaks off before its end."""
        held, self._held = self._held, []
        return b"".join(map(self._encoder.encode, held))
