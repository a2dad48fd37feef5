"""Checks what only clients of OpenAI's chat completions rely on."""

from __future__ import annotations

import json
from typing import cast

from devflow_cli.conformance.clauses.streams import hear_hello
from devflow_cli.conformance.probe import Probe
from devflow_cli.conformance.recording import JsonObject
from devflow_cli.conformance.speech import Inquiry
from devflow_cli.conformance.terms import ClauseNotShown, require


async def stream_grammar(probe: Probe) -> str:
    """Every event of a stream is a chunk of one completion, with the same id."""
    chunks = await _hear_chunks(probe)
    require(chunks, "the stream holds no chunks")
    kinds = {str(one.get("object")) for one in chunks}
    require(kinds == {"chat.completion.chunk"}, f"`object` is {sorted(kinds)}")
    ids = {str(one.get("id")) for one in chunks}
    require(len(ids) == 1 and "None" not in ids, f"the chunks of one reply have {len(ids)} ids")
    return f"{len(chunks)} chunks"


async def one_role(probe: Probe) -> str:
    """A stream names the role at most once: SDKs that add up deltas read `assistantassistant`."""
    roles = [delta["role"] for delta in await _hear_deltas(probe) if delta.get("role")]
    require(len(roles) <= 1, f"the role is in {len(roles)} deltas: send it in the first only")
    return "once" if roles else "never"


async def one_finish(probe: Probe) -> str:
    """A stream names the finish reason once."""
    chunks = await _hear_chunks(probe)
    reasons = [
        choice["finish_reason"]
        for chunk in chunks
        for choice in cast("list[JsonObject]", chunk.get("choices") or [])
        if choice.get("finish_reason")
    ]
    require(reasons, "no chunk has a finish reason: clients take the reply as cut")
    require(len(reasons) == 1, f"the finish reason comes {len(reasons)} times: `stopstop`")
    return str(reasons[0])


async def done(probe: Probe) -> str:
    """A stream ends in `[DONE]`, and nothing follows."""
    events = (await hear_hello(probe, stream=True)).events
    places = [place for place, one in enumerate(events) if one.data.strip() == b"[DONE]"]
    require(places, "the stream does not end in [DONE]: clients wait, or take it as cut")
    require(places == [len(events) - 1], "[DONE] is not the last event")
    return "at the end"


async def json_mode(probe: Probe) -> str:
    """`response_format: json_object` makes the reply JSON."""
    more = {"response_format": {"type": "json_object"}}
    question = "Describe Paris in one short sentence, in JSON."
    found = await probe.try_to_send(Inquiry(question=question, more=more))
    # refusals of models and gateways that have no JSON mode
    if found.status in (400, 404, 422):
        raise ClauseNotShown(f"the model cannot do it here: {found.excerpt}")
    require(found.status == 200, f"the answer has status {found.status}: {found.excerpt}")
    text = probe.understand(found).text
    try:
        is_object = isinstance(json.loads(text), dict)
    except ValueError:
        is_object = False
    require(is_object, f"the reply is not a JSON object, response_format is lost: {text[:80]!r}")
    return "an object"


async def models(probe: Probe) -> str:
    """`GET /v1/models` lists models in OpenAI's shape."""
    reply = await probe.client.get("/v1/models")
    require(reply.status_code == 200, f"the answer has status {reply.status_code}")
    found = reply.json()["data"]
    require(found and all(one["id"] for one in found), "the list of models is empty")
    return f"{len(found)} models"


async def _hear_chunks(probe: Probe) -> list[JsonObject]:
    found = await hear_hello(probe, stream=True)
    return [one.json for one in found.events if one.json]


async def _hear_deltas(probe: Probe) -> list[JsonObject]:
    return [
        cast(JsonObject, choice.get("delta") or {})
        for chunk in await _hear_chunks(probe)
        for choice in cast("list[JsonObject]", chunk.get("choices") or [])
    ]
