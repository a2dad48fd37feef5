"""A reply as the steps of an answer: with padding, comments and the waits that were set up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from devflow_sandbox.message import COMMENT, CORS, DONE, Answer, JsonObject, Pause, Step
from devflow_sandbox.parsed_request import Ask
from devflow_sandbox.replies.generation import Generation
from devflow_sandbox.sandbox_state import World
from devflow_sandbox.settlement import Settlement

PADDING = b"\n         \n"
_COMMENT_EVERY = 40


class Dialect(Protocol):
    """A module of `dialects`."""

    @property
    def read(self) -> Callable[[JsonObject], Ask]:
        """A body as a question."""
        ...

    @property
    def whole(self) -> Callable[[Generation], bytes]:
        """A reply as one body."""
        ...

    @property
    def stream(self) -> Callable[[Generation], list[bytes]]:
        """A reply as events, without comments and without `[DONE]`."""
        ...


def spoken(world: World, done: Generation, settlement: Settlement, dialect: Dialect) -> Answer:
    """The whole answer, undisturbed."""
    steps: list[Step]
    if done.ask.stream:
        kind, steps = "text/event-stream", _streamed(done, dialect.stream(done))
    else:
        waits = 1 + len(done.reply.text or "") % 3
        kind = "application/json"
        steps = [PADDING * waits, dialect.whole(done)]
    headers = [
        ("Content-Type", kind),
        ("X-Generation-Id", done.id),
        ("X-Provider-Name", done.provider.name),
        *CORS,
    ]
    if done.ask.stream:
        headers.append(("Cache-Control", "no-cache"))
    total = len(steps)
    steps = _paced(world, steps)
    return Answer(
        status=200,
        headers=headers,
        steps=steps,
        settle=settlement.end,
        paced=len(steps) != total,
        total=total,
        head_delay_s=0.0,
    )


def _streamed(done: Generation, events: list[bytes]) -> list[Step]:
    """With comments before and between, as recorded, and the end of this dialect."""
    steps: list[Step] = [COMMENT] * (1 + done.tokens.prompt % 3)
    for start in range(0, len(events), _COMMENT_EVERY):
        if start:
            steps.append(COMMENT)
        steps += events[start : start + _COMMENT_EVERY]
    if done.ask.dialect != "messages":
        steps.append(DONE)
    return steps


def _paced(world: World, steps: list[Step]) -> list[Step]:
    """With the waits that the sandbox was set up with."""
    setup = world.setup
    if not setup.ttft_s and not setup.tokens_per_s:
        return steps
    gap_s = 1 / setup.tokens_per_s if setup.tokens_per_s else 0.0
    slow: list[Step] = [steps[0], Pause(setup.ttft_s)]
    for step in steps[1:]:
        slow += (Pause(gap_s), step)
    return slow
