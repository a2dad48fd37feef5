"""The ways in which gateways are asked: forms of replies, connections, sizes, dialects."""

from __future__ import annotations

from dataclasses import dataclass

from asks import CHAT, MESSAGES, QUESTION_BYTES
from gateways import Gateway

DEVFLOW = "devflow"
WITHOUT_LEDGER, TWO_WORKERS = "devflow, no keys, empty ledger", "devflow, 2 workers"
VARIANTS = (WITHOUT_LEDGER, TWO_WORKERS)
"""Other ways to run DevFlow, which take part in few scenes."""
FAST = (DEVFLOW, "tensorzero", "nginx")
SHARES = {
    "nginx": 4.0,
    "claude-code-router": 0.2,
    "portkey": 0.2,
    "litellm": 0.02,
}
"""How many of the requests each is sent, so that a round takes about as long for all; others: 1."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One way in which gateways are asked."""

    name: str
    shape: str
    """How the upstream's reply comes: one of `upstream.SHAPES`."""
    connections: int
    count: int
    """Requests a round, for a gateway of share 1."""
    dialect: str = CHAT
    is_stream: bool = False
    size_bytes: int = QUESTION_BYTES
    is_auto: bool = False
    """Whether the choice of the model is the gateway's."""
    chunks: int = 1
    """Divides the CPU, where that of a chunk is meant."""
    only: tuple[str, ...] = ()
    """The gateways asked; empty is all but the variants."""

    def takes(self, gateway: Gateway) -> bool:
        """Return whether a gateway is asked in this way at all."""
        if self.only:
            return gateway.name in self.only
        return self.dialect in gateway.routes and gateway.name not in VARIANTS

    def requests(self, gateway: Gateway) -> list[bytes]:
        """Return what a gateway is asked."""
        more = {"user": f"bench/{self.shape}"} if self.is_auto else {}
        return gateway.requests(
            self.dialect,
            "auto" if self.is_auto else f"bench/{self.shape}",
            size_bytes=self.size_bytes,
            stream=self.is_stream,
            **more,
        )

    def scale(self, gateway: Gateway, share: float) -> int:
        """Return how many requests a gateway is sent in a round of this share of the work."""
        count = int(self.count * share * SHARES.get(gateway.name, 1.0))
        # every stream of a paced scene has to run beside all others
        return max(count, self.connections if "paced" in self.shape else 24)


SCENES = (
    Scene(name="whole/50", shape="chunks-50", connections=64, count=3_000),
    Scene(name="whole/4", shape="chunks-4", connections=64, count=2_000),
    Scene(name="whole/500", shape="chunks-500", connections=64, count=1_000),
    Scene(
        name="ways/50", shape="chunks-50", connections=64, count=2_000,
        only=(DEVFLOW, *VARIANTS),
    ),
    Scene(
        name="auto/50", shape="chunks-50", connections=64, count=2_000, is_auto=True,
        only=(DEVFLOW,),
    ),
    Scene(name="1 connection", shape="chunks-50", connections=1, count=600),
    Scene(
        name="1 connection, ways", shape="chunks-50", connections=1, count=600,
        only=(DEVFLOW, WITHOUT_LEDGER),
    ),
    Scene(name="8 connections", shape="chunks-50", connections=8, count=1_500),
    Scene(name="stream of 4", shape="chunks-4", connections=32, count=1_500, is_stream=True),
    Scene(name="stream of 50", shape="chunks-50", connections=32, count=1_000, is_stream=True),
    # LiteLLM takes 0.4 s of CPU for each of these
    Scene(
        name="stream of 500", shape="chunks-500", connections=32, count=150, is_stream=True,
        only=FAST,
    ),
    Scene(
        name="paced chunk, 32 streams", shape="paced-5ms-50", connections=32, count=128,
        is_stream=True, chunks=50,
    ),
    Scene(
        name="paced, 8 streams", shape="paced-5ms-50", connections=8, count=64, is_stream=True
    ),
    Scene(
        name="paced, 64 streams", shape="paced-5ms-50", connections=64, count=256,
        is_stream=True, only=FAST,
    ),
    Scene(
        name="paced, 500 streams", shape="paced-200ms-10", connections=500, count=1_000,
        is_stream=True, only=FAST,
    ),
    Scene(
        name="paced, 2,000 streams", shape="paced-200ms-10", connections=2_000, count=2_000,
        is_stream=True, only=FAST,
    ),
    Scene(name="agent, 10 kB", shape="chunks-50", connections=8, count=600, size_bytes=10_000),
    Scene(name="agent, 100 kB", shape="chunks-50", connections=8, count=200, size_bytes=100_000),
    Scene(name="agent, 430 kB", shape="chunks-50", connections=8, count=64, size_bytes=430_000),
    Scene(name="agent, 1 MB", shape="chunks-50", connections=8, count=32, size_bytes=1_000_000),
    Scene(
        name="messages/50", shape="chunks-50", connections=64, count=1_500, dialect=MESSAGES
    ),
    Scene(
        name="messages, stream of 50", shape="chunks-50", connections=32, count=800,
        dialect=MESSAGES, is_stream=True,
    ),
)  # fmt: skip
