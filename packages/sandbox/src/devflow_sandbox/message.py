"""What comes in and what goes out, free of any transport: a request, and an answer as steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal
from urllib.parse import parse_qs

import orjson

JsonObject = dict[str, Any]

Framing = Literal["chunked", "length", "close", "raw"]
"""How the end of a body is marked; `raw`: the steps are the bytes of the connection itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxRequest:
    """One HTTP request as it was received. Header names are in lower case."""

    method: str
    path: str
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""

    def query_parameters(self) -> dict[str, str]:
        """The query's parameters; of one given twice the last counts."""
        return {name: values[-1] for name, values in parse_qs(self.query).items()}


@dataclass(frozen=True, slots=True)
class Pause:
    """Send nothing for so many seconds."""

    seconds: float


class DropConnection(Enum):
    """End the connection here, in the middle of whatever was being said."""

    RESET = "reset"
    """As a crash looks: RST."""
    CLOSE = "close"
    """As an impatient proxy looks: FIN."""


Step = bytes | Pause | DropConnection


@dataclass(slots=True, kw_only=True)
class Answer:
    """A reply as a list of steps, so that a fault is a change of a list and nothing else.

    `settle` is called exactly once, before the last byte leaves or when the client has gone,
    with the share of the steps that were sent (0 to 1).
    """

    status: int
    headers: list[tuple[str, str]]
    steps: Iterable[Step]
    framing: Framing = "chunked"
    settle: Callable[[float], None] | None = None
    is_paced: bool = False
    """There are pauses, drops or endless steps: write them one by one."""
    step_count: int = 1
    """How many steps there are, for `settle`."""
    dribble_s: float | None = None
    """Send the head byte by byte with so many seconds between."""
    head_delay_s: float = 0.0
    close_after: bool = False
    """Close the connection once the body is out, without having said so."""
    refuse_s: float = 0.0
    """Stop listening for so long after it."""

    def get_header(self, name: str) -> str | None:
        """The first header of this name (lower case), or None."""
        return next((value for key, value in self.headers if key.lower() == name), None)


COMMENT = b": OPENROUTER PROCESSING\n\n"
"""What a stream says while nothing is to be said."""
DONE = b"data: [DONE]\n\n"
"""The end of a stream, but for `/messages`."""
CORS = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Expose-Headers", "X-Generation-Id,X-Provider-Name,request-id,cf-ray"),
)


def json_answer(
    value: object, status: int = 200, headers: Iterable[tuple[str, str]] = ()
) -> Answer:
    """A whole JSON body."""
    return Answer(
        status=status,
        headers=[("Content-Type", "application/json"), *CORS, *headers],
        steps=[value if isinstance(value, bytes) else orjson.dumps(value)],
        framing="length",
    )
