"""What each dialect looks like: the laws of all dialects take their bodies and streams from here.

A dialect has a module of its name beside this one, with a `SAMPLES`. The laws run over `DIALECTS`,
so one without samples makes them fail, and says what to write.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module, util
from typing import Any

import orjson

COMMENTS = [b": waiting\n\n", b"retry: 5\n\n", b"id: 7\n\n", b":\n\n"]
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, kw_only=True)
class DialectSamples:
    """What the laws send, and what providers answer, in one dialect."""

    asks: dict[str, Any]
    """A small request, beside its model."""
    body: dict[str, Any]
    """A request that uses all that the dialect knows."""
    events: list[dict[str, Any]]
    """A streamed reply that uses all that it knows, and a failure last."""
    whole: dict[str, Any]
    """The same, whole."""
    opening: tuple[bytes, ...]
    """How a stream begins that has not shown anything yet."""
    rest: tuple[bytes, ...]
    """After the opening: `Hello`, a usage, and the end."""
    failure: bytes
    """An event with which a stream fails."""
    before: tuple[bytes, ...] = ()
    """What may come before the start."""
    start: bytes
    between: tuple[bytes, ...]
    """What may come in any order between the start and the end, the odd and the new too."""
    ends: tuple[bytes, ...]
    carries_calls: bool = True
    """Whether a reply can hold calls of tools, and thinking."""
    has_usage_in_its_end: bool = False
    """Whether it is the event of the end that tells the usage."""
    ends_in_done: bool = False
    """Whether `[DONE]` is its end; in others a provider's `[DONE]` is not passed on."""

    @property
    def hello(self) -> tuple[bytes, ...]:
        """A streamed reply that says `Hello`."""
        return (*self.opening, *self.rest)


@cache
def samples_of(name: str) -> DialectSamples:
    """The samples of a dialect, by its name in `DIALECTS`."""
    module = f"{__name__}.{name}"
    if util.find_spec(module) is None:
        raise LookupError(
            f"The laws know no samples of the dialect {name}: write"
            f" tests/dialect_samples/{name}.py, with SAMPLES = DialectSamples(…)."
        )
    return import_module(module).SAMPLES


def data_event(**body: Any) -> bytes:
    """An event without a name."""
    return b"data: " + orjson.dumps(body) + b"\n\n"


def named_event(**body: Any) -> bytes:
    """An event that has its type as its name too."""
    return b"event: %b\ndata: %b\n\n" % (body["type"].encode(), orjson.dumps(body))
