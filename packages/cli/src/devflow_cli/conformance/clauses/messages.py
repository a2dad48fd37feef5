"""Checks what only Claude Code relies on, by its gateway guide and by what its releases do.

Source: code.claude.com/docs/en/llm-gateway-protocol (read November 2026), and requests recorded
from Claude Code 1.0.128 to 2.1.332.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from devflow_cli.conformance.clauses import prompts
from devflow_cli.conformance.clauses.prompts import READ_BOTH
from devflow_cli.conformance.clauses.streams import hear_hello
from devflow_cli.conformance.grammar.messages import find_fault
from devflow_cli.conformance.probe import Probe, make_word
from devflow_cli.conformance.recording import JsonObject, as_object
from devflow_cli.conformance.speech import Inquiry
from devflow_cli.conformance.speech.messages import BETAS
from devflow_cli.conformance.terms import ClauseBroken, ClauseNotShown, ClauseSkipped, require

MAX_CACHED_TOKENS = 6000
"""The most tokens of the prompt that is sent again; Claude Haiku 4.5 caches none below 4,096."""
MAX_THINKING_TOKENS = 1536
"""Tokens of a reply whose thinking may take 1,024 of them."""
# with the query that Claude Code sends
_COUNT = "/v1/messages/count_tokens?beta=true"


async def system_prompt(probe: Probe) -> str:
    """The system prompt reaches the model whole, as one text and as several blocks."""
    seen = await prompts.system_prompt(probe)
    first, second = make_word(), make_word()
    blocks = [
        {"type": "text", "text": "You are a brief assistant."},
        {"type": "text", "text": f"The code word of the first block is {first}."},
        {
            "type": "text",
            "text": f"The code word of the last block is {second}.",
            "cache_control": {"type": "ephemeral"},
        },
    ]
    told = {"the first block of the system": first, "its last block": second}
    inquiry = Inquiry(question="", more={"system": blocks})
    why = "Claude Code sends its instructions in blocks"
    return f"{seen}; {await prompts.repeat_words(probe, inquiry, told, why)}"


async def stream_grammar(probe: Probe) -> str:
    """A stream is a sentence of the grammar: every delta inside its open block, then one stop."""
    asked = Inquiry(
        question="Write a short sentence, then use the read_left tool and use the read_right tool.",
        tools=READ_BOTH,
        stream=True,
    )
    for found in (await hear_hello(probe, stream=True), await probe.send(asked)):
        fault = find_fault([(one.name, one.json) for one in found.events])
        require(fault is None, f"{fault}: Claude Code drops the reply or asks again")
    return "both streams"


async def early_usage(probe: Probe) -> str:
    """`message_start` reports input tokens above zero: Claude Code 2.1.50 records only these."""
    found = await hear_hello(probe, stream=True)
    starts = [one.json for one in found.events if one.json.get("type") == "message_start"]
    usage = cast(JsonObject, starts[0]["message"].get("usage") or {})
    total = int(usage.get("input_tokens") or 0) + int(usage.get("cache_read_input_tokens") or 0)
    require(total > 0, "message_start says 0 input tokens: the context display will be wrong")
    return f"{total} tokens"


async def cache(probe: Probe) -> str:
    """A prompt marked with `cache_control` is read from the cache when it is sent again."""
    listed = as_object(probe.row().get("pricing"))
    if "claude" not in probe.model and not listed.get("input_cache_read"):
        raise ClauseSkipped(f"whether {probe.model} caches prompts is unknown; name a Claude")
    marked = {
        "type": "text",
        "text": make_long_text(),
        "cache_control": {"type": "ephemeral"},
    }
    asked = {"type": "text", "text": "Reply with exactly: ok"}
    messages = [{"role": "user", "content": [marked, asked]}]
    inquiry = Inquiry(question="", max_tokens=16, more={"messages": messages})
    first = await probe.ask(inquiry)
    # twice, since a prompt may reach the cache only after the reply to it
    for number in (2, 3):
        said = await probe.ask(inquiry)
        if said.cached_tokens > 0:
            return f"{said.cached_tokens} of {said.input_tokens} tokens read the {number}. time"
    # by the gateway's own count, the prompt was too short to be cached
    if first.input_tokens < MAX_CACHED_TOKENS // 2:
        raise ClauseNotShown(f"the prompt counts {first.input_tokens} tokens only")
    raise ClauseBroken(
        f"none of {first.input_tokens} marked tokens is read from the cache: cache_control is"
        " swallowed, or moved; every turn costs up to ten times as much"
    )


async def stop_sequences(probe: Probe) -> str:
    """A reply ends before a stop sequence, and names it."""
    question = "Count from 1 to 30, one number per line, and write nothing else."
    said = await probe.ask(Inquiry(question=question, stop="12"))
    require(
        "13" not in said.text, "the reply goes on behind the stop sequence: it is not passed on"
    )
    if said.ending != "stop" and "11" not in said.text:
        raise ClauseNotShown("the model did not count as far as the stop sequence")
    named = said.reply.get("stop_sequence")
    require(said.ending == "stop" and named == "12", "the reply does not name the stop sequence")
    return "ended before it"


async def thinking(probe: Probe) -> str:
    """Thinking keeps its signature, and is accepted in the next turn with a tool result."""
    question = "Think about it, then use the read_left tool."
    # the least that the API accepts
    more = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    asked = Inquiry(
        question=question,
        tools=READ_BOTH[:1],
        max_tokens=MAX_THINKING_TOKENS,
        stream=True,
        more=more,
    )
    found = await probe.try_to_send(asked)
    if found.status == 400:
        raise ClauseNotShown(f"the model does not think by budget: {found.excerpt}")
    require(found.status == 200, f"the answer has status {found.status}: {found.excerpt}")
    said = probe.understand(found)
    content = cast("list[JsonObject]", said.reply["content"])
    thoughts = [one for one in content if one["type"] == "thinking"]
    if not thoughts:
        raise ClauseNotShown("the model shows no thinking; try --model with one that does")
    require(
        all(one.get("signature") for one in thoughts),
        "thinking has no signature: the next turn of the session will be refused",
    )
    if not said.calls:
        return "signed; the model called no tool, so it was not sent back"
    result = {"type": "tool_result", "tool_use_id": said.calls[0].id, "content": "done"}
    messages = [
        {"role": "user", "content": question},
        {"role": "assistant", "content": content},
        {"role": "user", "content": [result]},
    ]
    again = Inquiry(
        question="",
        tools=READ_BOTH[:1],
        max_tokens=MAX_THINKING_TOKENS,
        more={**more, "messages": messages},
    )
    await probe.send(again)
    return "signed, and taken back"


async def unknown_fields(probe: Probe) -> str:
    """Fields that the upstream may not know are passed on or ignored, but never refused."""
    more = {
        "thinking": {"type": "adaptive", "display": "updates"},
        "output_config": {"effort": "medium"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "metadata": {"user_id": "user_of_devflow_doctor"},
    }
    asked = Inquiry(question="Reply with exactly: ok", max_tokens=MAX_THINKING_TOKENS, more=more)
    said = await probe.ask(asked)
    require(said.text.strip(), "the request is answered without text")
    return "answered"


async def unknown_betas(probe: Probe) -> str:
    """Unknown values of `anthropic-beta` are passed on or ignored, but never refused."""
    asked = Inquiry(question="Reply with exactly: ok", max_tokens=64)
    # the date of no release, so that no gateway can know the value
    await probe.send(asked, anthropic_beta=f"{BETAS},something-new-2027-01-01")
    return "answered"


async def deferred_tools(probe: Probe) -> str:
    """Tools with `defer_loading` and results with `tool_reference` are accepted."""
    schema = {"type": "object", "properties": {"query": {"type": "string"}}}
    tools: list[JsonObject] = [
        {"name": "ToolSearch", "description": "Find tools.", "input_schema": schema},
        {"name": "Later", "description": "x", "input_schema": schema, "defer_loading": True},
    ]
    found = [{"type": "tool_reference", "tool_name": "Later"}]
    call = {"type": "tool_use", "id": "toolu_doctor", "name": "ToolSearch", "input": {"query": "x"}}
    result = {"type": "tool_result", "tool_use_id": "toolu_doctor", "content": found}
    messages = [
        {"role": "user", "content": "Find a tool."},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]
    inquiry = Inquiry(question="", max_tokens=64, more={"tools": tools, "messages": messages})
    await probe.send(inquiry)
    return "answered"


async def both_credentials(probe: Probe) -> str:
    """`Authorization` and `x-api-key` may be sent together (Claude Code 2.1.248 and later)."""
    asked = Inquiry(question="Reply with exactly: ok", max_tokens=64)
    await probe.send(asked, x_api_key=probe.key or "none")
    return "answered"


async def count_tokens(probe: Probe) -> str:
    """`count_tokens` counts many requests at once; without it, `/context` costs paid calls."""
    short = {"model": probe.model, "messages": [{"role": "user", "content": "Say ok."}]}
    long = {"model": probe.model, "messages": [{"role": "user", "content": "Say ok. " * 200}]}
    # Claude Code's `/context` sends 10 to 30 at once
    bodies = [short] * 12 + [long]
    found = await asyncio.gather(*[probe.post(_COUNT, body) for body in bodies])
    for one in found:
        require(one.status == 200, f"the answer has status {one.status}: {one.excerpt}")
    counts = [int(one.json["input_tokens"]) for one in found]
    require(len(set(counts[:-1])) == 1 and counts[0] > 0, "the counts are zero or differ")
    require(counts[-1] > counts[0] + 100, "a text that is 200 times as long counts no more")
    return f"{counts[0]} and {counts[-1]} tokens"


async def discovery(probe: Probe) -> str:
    """`GET /v1/models?limit=1000` lists an id with `claude` or `anthropic`, without redirect."""
    reply = await probe.client.get("/v1/models?limit=1000", headers=probe.speech.headers)
    require(reply.status_code == 200, f"the answer has status {reply.status_code}")
    listed: Any = reply.json()["data"]
    ids = [str(one["id"]) for one in listed]
    usable = [one for one in ids if "claude" in one or "anthropic" in one]
    require(usable, "no id contains `claude` or `anthropic`: Claude Code will drop all of them")
    return f"{len(usable)} of {len(ids)} models"


async def hello(probe: Probe) -> str:
    """`HEAD /api/hello` gets an answer with a status below 500, even if it is a rejection."""
    reply = await probe.client.head("/api/hello", headers=probe.speech.headers)
    require(reply.status_code < 500, f"the answer has status {reply.status_code}")
    return f"answered {reply.status_code}"


def make_long_text() -> str:
    """Return a text of over 4,100 tokens that no cache has seen, as each begins differently."""
    lines = [f"This text begins with the word {make_word()}{make_word()}."]
    lines += [
        f"Line {number} of a long text that is sent twice, word by word." for number in range(300)
    ]
    return "\n".join(lines)
