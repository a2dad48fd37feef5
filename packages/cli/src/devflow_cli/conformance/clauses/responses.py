"""Checks what only Codex relies on."""

from __future__ import annotations

from typing import cast

from devflow_cli.conformance.clauses.prompts import READ_BOTH
from devflow_cli.conformance.clauses.streams import hear_hello
from devflow_cli.conformance.grammar.responses import find_fault
from devflow_cli.conformance.probe import Probe
from devflow_cli.conformance.recording import JsonObject
from devflow_cli.conformance.speech import Inquiry
from devflow_cli.conformance.terms import ClauseNotShown, require

# how Codex asks for reasoning, since it stores no state at the provider
_SEALED = {
    "include": ["reasoning.encrypted_content"],
    "reasoning": {"effort": "low", "summary": "auto"},
}


async def stream_grammar(probe: Probe) -> str:
    """A stream is a sentence of the grammar: created, each item added and done, completed."""
    asked = Inquiry(
        question="Use the read_left tool and use the read_right tool.", tools=READ_BOTH, stream=True
    )
    for found in (await hear_hello(probe, stream=True), await probe.send(asked)):
        fault = find_fault([one.json for one in found.events if one.json])
        require(fault is None, f"{fault}: Codex drops the reply or asks again")
    return "both streams"


async def codex_fields(probe: Probe) -> str:
    """A request with all fields that Codex sends is answered."""
    more = {
        **_SEALED,
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "prompt_cache_key": "devflow-doctor",
        "text": {"verbosity": "low"},
    }
    asked = Inquiry(
        question="Reply with exactly: ok",
        system="Be brief.",
        tools=READ_BOTH,
        stream=True,
        more=more,
    )
    said = await probe.ask(asked)
    require(said.text.strip(), "the request is answered without text")
    return "answered"


async def reasoning(probe: Probe) -> str:
    """Reasoning comes sealed without being stored, and is accepted in the next turn."""
    question = "Think about it, then use the read_left tool."
    asked = Inquiry(question=question, tools=READ_BOTH[:1], stream=True, more=_SEALED)
    said = await probe.ask(asked)
    items = cast("list[JsonObject]", said.reply["output"])
    thoughts = [one for one in items if one["type"] == "reasoning"]
    if not thoughts:
        raise ClauseNotShown("the model shows no reasoning; try --model with one that does")
    require(
        all(one.get("encrypted_content") for one in thoughts),
        "reasoning has no encrypted_content: it is lost with every tool call",
    )
    results = [
        {"type": "function_call_output", "call_id": one.id, "output": "done"} for one in said.calls
    ]
    user = {"type": "message", "role": "user"}
    asked_again = {**user, "content": [{"type": "input_text", "text": question}]}
    more = {**_SEALED, "input": [asked_again, *items, *results]}
    await probe.send(Inquiry(question="", tools=READ_BOTH[:1], more=more))
    return "sealed, and taken back"
