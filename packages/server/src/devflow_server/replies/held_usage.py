"""The event with the usage, held until the cost is known that is to stand in it."""

from __future__ import annotations

from devflow_core.events import Event, Opaque
from devflow_core.wire import EventEncoder

MAX_HELD_EVENTS = 64
"""Comments that may follow a usage before it goes out without the cost."""


class HeldUsage:
    """Encodes events in their order; the latest usage waits for the end of the reply.

    Providers send a usage with every chunk, or in the chunk of the finish reason and once more:
    each of them goes out, and the last one with what the encoder was told to add.

    Args:
        encoder: of the reply.
    """

    def __init__(self, encoder: EventEncoder) -> None:
        self._encoder = encoder
        self._held: list[Opaque] = []

    def encode(self, event: Event) -> bytes:
        """The bytes to send now that this event has come."""
        if isinstance(event, Opaque) and event.kind == "usage":
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
        """What is held, to be sent as it is: the reply is over or goes on."""
        held, self._held = self._held, []
        return b"".join(map(self._encoder.encode, held))
