"""Checks that tool calls come whole out of a stream, and that their results are matched by id."""

from __future__ import annotations

import json

from devflow_cli.conformance.clauses.prompts import READ_BOTH
from devflow_cli.conformance.probe import Probe
from devflow_cli.conformance.recording import as_object, as_objects
from devflow_cli.conformance.speech import Inquiry, Utterance
from devflow_cli.conformance.terms import ClauseNotShown, require

# the second is for models that prefer to call one tool at a time
_QUESTIONS = (
    "Use the read_left tool and use the read_right tool now, both in the same reply.",
    "You must call the read_left tool and call the read_right tool at once, as two parallel tool"
    " calls in one reply. Write no text.",
)


async def tool_calls(probe: Probe) -> str:
    """Two tool calls in one stream keep their ids and inputs, and their results are accepted."""
    said = await _hear_two_calls(probe)
    ids = [one.id for one in said.calls]
    require(all(ids), "a tool call has no id: its result cannot be sent back")
    require(
        len(set(ids)) == len(ids), f"two tool calls share the id {ids[0]}: results get mixed up"
    )
    require(
        not _shares_numbers(said), "two tool calls share one number: clients glue them together"
    )
    for call in said.calls:
        expected = {"side": call.name.rpartition("_")[2]}
        seen = call.arguments[:60]
        require(_parse(seen) == expected, f"the input of {call.name} is {seen!r}, not {expected}")
    require(said.ending == "calls", "the reply does not say that it ended for its tool calls")
    names = tuple(one.name for one in said.calls)
    results = tuple((one.id, "done") for one in said.calls)
    await probe.send(Inquiry(question="Go on.", tools=names, results=results))
    return f"{len(ids)} calls, and their results are accepted"


async def _hear_two_calls(probe: Probe) -> Utterance:
    for question in _QUESTIONS:
        said = await probe.ask(Inquiry(question=question, tools=READ_BOTH, stream=True))
        if sorted(one.name for one in said.calls) == list(READ_BOTH):
            return said
    raise ClauseNotShown("the model does not call both tools at once; try --model with another")


def _shares_numbers(said: Utterance) -> bool:
    """Return whether pieces of several calls came under one number (chat completions)."""
    messages = [as_object(one.get("message")) for one in as_objects(said.reply.get("choices"))]
    return any(call.get("shared") for one in messages for call in as_objects(one.get("tool_calls")))


def _parse(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None
