"""Turns a reply into the steps of an answer, with padding, comments and configured waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from devflow_sandbox.message import COMMENT, CORS, DONE, Answer, JsonObject, Pause, Step
from devflow_sandbox.parsed_request import ParsedRequest
from devflow_sandbox.replies.generation import Generation
from devflow_sandbox.sandbox_state import SandboxState
from devflow_sandbox.settlement import Settlement

# OpenRouter pads slow replies with white space in front of the JSON.
PADDING = b"\n         \n"
# Recorded streams have comments between their events; the interval is ours.
_EVENTS_PER_COMMENT = 40


class ReplyDialect(Protocol):
    """The interface of the modules in `dialects`."""

    @property
    def parse_request(self) -> Callable[[JsonObject], ParsedRequest]:
        """Parses a request body."""
        ...

    @property
    def encode_response(self) -> Callable[[Generation], bytes]:
        """Encodes a reply as a single body."""
        ...

    @property
    def encode_stream(self) -> Callable[[Generation], list[bytes]]:
        """Encodes a reply as events, without comments and without `[DONE]`."""
        ...


def build_answer(
    state: SandboxState, generation: Generation, settlement: Settlement, dialect: ReplyDialect
) -> Answer:
    """Return the complete answer to a request for a reply, before any fault is applied.

    Sending it settles the call.
    """
    steps: list[Step]
    if generation.request.stream:
        kind, steps = (
            "text/event-stream",
            _build_stream(generation, dialect.encode_stream(generation)),
        )
    else:
        waits = 1 + len(generation.reply.text or "") % 3
        kind = "application/json"
        steps = [PADDING * waits, dialect.encode_response(generation)]
    headers = [
        ("Content-Type", kind),
        ("X-Generation-Id", generation.id),
        ("X-Provider-Name", generation.provider.name),
        *CORS,
    ]
    if generation.request.stream:
        headers.append(("Cache-Control", "no-cache"))
    total = len(steps)
    steps = _pace(state, steps)
    return Answer(
        status=200,
        headers=headers,
        steps=steps,
        settle=settlement.settle,
        is_paced=len(steps) != total,
        step_count=total,
        head_delay_s=0.0,
    )


def _build_stream(generation: Generation, events: list[bytes]) -> list[Step]:
    """Add comments before and between the events, as recorded, and the dialect's end marker."""
    steps: list[Step] = [COMMENT] * (1 + generation.tokens.prompt % 3)
    for start in range(0, len(events), _EVENTS_PER_COMMENT):
        if start:
            steps.append(COMMENT)
        steps += events[start : start + _EVENTS_PER_COMMENT]
    # Anthropic's dialect ends with `message_stop`; its clients expect nothing after it
    if generation.request.dialect != "messages":
        steps.append(DONE)
    return steps


def _pace(state: SandboxState, steps: list[Step]) -> list[Step]:
    """Insert the waits that the sandbox was configured with."""
    setup = state.setup
    if not setup.ttft_s and not setup.tokens_per_s:
        return steps
    gap_s = 1 / setup.tokens_per_s if setup.tokens_per_s else 0.0
    slow: list[Step] = [steps[0], Pause(setup.ttft_s)]
    for step in steps[1:]:
        slow += (Pause(gap_s), step)
    return slow
