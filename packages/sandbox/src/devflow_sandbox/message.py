"""Defines requests and answers independently of a transport; an answer is a list of steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal
from urllib.parse import parse_qs

import orjson

JsonObject = dict[str, Any]

Framing = Literal["chunked", "length", "close", "raw"]
"""The marking of the end of a body; `raw`: the steps are the bytes of the connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxRequest:
    """One HTTP request as received; header names are in lower case."""

    method: str
    path: str
    """The path without the query."""
    query: str = ""
    """The query without the `?`."""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""

    def query_parameters(self) -> dict[str, str]:
        """Return the query's parameters without empty ones; of repeated ones, the last counts."""
        return {name: values[-1] for name, values in parse_qs(self.query).items()}


@dataclass(frozen=True, slots=True)
class Pause:
    """A step that sends nothing for a number of seconds."""

    seconds: float


class DropConnection(Enum):
    """A step that ends the connection, in the middle of the answer."""

    RESET = "reset"
    """The connection is reset (RST), as by a crash."""
    CLOSE = "close"
    """The connection is closed (FIN), as by an impatient proxy."""


Step = bytes | Pause | DropConnection


@dataclass(slots=True, kw_only=True)
class Answer:
    """An answer as a list of steps, so that a fault is just a change of that list.

    `settle` is called exactly once, before the last byte is sent or when the client disconnects,
    with the share of the steps that were sent (0 to 1).
    """

    status: int
    headers: list[tuple[str, str]]
    steps: Iterable[Step]
    framing: Framing = "chunked"
    settle: Callable[[float], None] | None = None
    is_paced: bool = False
    """Whether it has pauses, drops or endless steps, and so must be written step by step."""
    step_count: int = 1
    """The number of steps, for `settle`."""
    dribble_s: float | None = None
    """Seconds between the bytes of the head, sent one by one; None: sent at once."""
    head_delay_s: float = 0.0
    """Seconds before the first byte of the head."""
    close_after: bool = False
    """Whether the next request on the connection finds it reset."""
    refuse_s: float = 0.0
    """Seconds to stop listening afterwards."""

    def get_header(self, name: str) -> str | None:
        """Return the value of the first header of this name (lower case); None if there is none."""
        return next((value for key, value in self.headers if key.lower() == name), None)


COMMENT = b": OPENROUTER PROCESSING\n\n"
"""The comment that is sent in a stream while there is no event."""
DONE = b"data: [DONE]\n\n"
"""The end of a stream, except for `/messages`."""
CORS = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Expose-Headers", "X-Generation-Id,X-Provider-Name,request-id,cf-ray"),
)


def json_answer(
    value: object, status: int = 200, headers: Iterable[tuple[str, str]] = ()
) -> Answer:
    """Return an answer with a complete JSON body; bytes are sent as they are."""
    return Answer(
        status=status,
        headers=[("Content-Type", "application/json"), *CORS, *headers],
        steps=[value if isinstance(value, bytes) else orjson.dumps(value)],
        framing="length",
    )
