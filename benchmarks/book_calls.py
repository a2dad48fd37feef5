"""Makes the calls of the books benchmark: every dialect, and everything billed besides tokens.

A call takes all its choices from its own number, so that a run can be repeated.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from devflow_core.attribution import Attribution
from devflow_core.messages import WireName
from devflow_core.request import ChatRequest
from devflow_core.wire import get_dialect

Body = dict[str, Any]

MODELS = (
    "anthropic/claude-haiku-4.5",
    "openai/gpt-5-mini",
    "google/gemini-2.5-flash",
    "deepseek/deepseek-v3.2",
)
FIRST_OF_LIST, DEAR_FALLBACK = "openai/gpt-5-nano", "openai/gpt-5.2-pro"
"""The first is down for half of the calls; the fallback costs four hundred times as much."""
CANCELLED_SHARE = 0.05
"""Share of the calls whose reader leaves after the first event."""
WHOLE_SHARE = 0.3
METERED_SHARE = 0.1
METERED_PROJECT = "metered"
METERED_LIMIT_USD = Decimal("0.05")
"""The budget of the metered project, so small that every run uses it up."""
CEILING_SHARE, CEILING_USD = 0.05, Decimal("0.004")
"""Share of calls with a cost limit, and that limit: a call that may cost more is refused."""
WIRES: tuple[WireName, ...] = ("openai_chat", "anthropic_messages", "openai_responses")
PATHS = {
    "openai_chat": "/chat/completions",
    "anthropic_messages": "/messages",
    "openai_responses": "/responses",
}
_PDF = base64.b64encode(b"%PDF-1.4\n" + b"<< /Type /Page >>\n" * 3).decode()

FAULTS: tuple[tuple[str, float, Body], ...] = (
    ("status 500", 0.020, {"kind": "status", "status": 500}),
    ("status 503", 0.010, {"kind": "status", "status": 503}),
    ("rate limited", 0.015, {"kind": "status", "preset": "rate_limited"}),
    ("dropped before the head", 0.025, {"kind": "drop"}),
    ("dropped in the body", 0.020, {"kind": "drop", "at": {"share": 0.5}}),
    ("cut short", 0.015, {"kind": "truncate"}),
    ("error in a stream", 0.015, {"kind": "error_event"}),
    ("no usage", 0.010, {"kind": "omit", "parts": ["usage"]}),
    ("no cost", 0.010, {"kind": "omit", "parts": ["cost"]}),
    ("no end", 0.005, {"kind": "omit", "parts": ["finish", "done"]}),
    ("usage that is no number", 0.005, {"kind": "usage", "values": {"cost": "NaN"}}),
)


def fault_script() -> Body:
    """Return faults for 15 % of all calls, and half of those to the first of a list of models."""
    down = {"kind": "status", "status": 503}
    faults: list[Body] = [
        {
            "id": "first of a list is down",
            "when": {"model": FIRST_OF_LIST, "probability": 0.5},
            "then": down,
        }
    ]
    faults += [
        {"id": name, "when": {"path": path, "probability": share}, "then": then}
        for name, share, then in FAULTS
        for path in PATHS.values()
    ]
    return {"faults": faults}


PLUGIN_FEE = "0.009"
"""The fee of the search below: 0.007 USD with ten results, 0.001 USD for each of the other two."""


def _web_plugin(_: WireName) -> Body:
    return {"plugins": [{"id": "web", "engine": "exa", "max_results": 12}]}


def _search_tool(wire: WireName) -> Body:
    if wire == "anthropic_messages":
        tool = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}
    elif wire == "openai_responses":
        return {"tools": [{"type": "web_search"}], "max_tool_calls": 2}
    else:
        parameters = {"max_uses": 2, "max_results": 3, "engine": "exa"}
        tool = {"type": "openrouter:web_search", "parameters": parameters}
    return {"tools": [tool]}


def _model_list(wire: WireName) -> Body:
    if wire == "anthropic_messages":
        return {"model": FIRST_OF_LIST, "fallbacks": [{"model": DEAR_FALLBACK}]}
    return {"model": FIRST_OF_LIST, "models": [DEAR_FALLBACK]}


def _flex(_: WireName) -> Body:
    return {"model": "openai/gpt-5-mini", "service_tier": "flex"}


def _priority(_: WireName) -> Body:
    return {"model": "openai/gpt-5-mini", "service_tier": "priority"}


def _fast_claude(wire: WireName) -> Body:
    fast = {"speed": "fast"} if wire == "anthropic_messages" else {"service_tier": "fast"}
    return {"model": "anthropic/claude-opus-5", **fast}


def _image(wire: WireName) -> Body:
    limit = "max_output_tokens" if wire == "openai_responses" else "max_tokens"
    model = "google/gemini-2.5-flash-image"
    return {"model": model, "modalities": ["image", "text"], limit: 2_000}


def _pdf(wire: WireName) -> Body:
    question = "What does it say?"
    data = f"data:application/pdf;base64,{_PDF}"
    part: Body = {"type": "file", "file": {"filename": "a.pdf", "file_data": data}}
    text: Body = {"type": "text", "text": question}
    if wire == "anthropic_messages":
        source = {"type": "base64", "media_type": "application/pdf", "data": _PDF}
        part = {"type": "document", "source": source}
    elif wire == "openai_responses":
        part = {"type": "input_file", "filename": "a.pdf", "file_data": data}
        text = {"type": "input_text", "text": question}
    messages = [{"role": "user", "content": [text, part]}]
    name = "input" if wire == "openai_responses" else "messages"
    plugins = [{"id": "file-parser", "pdf": {"engine": "mistral-ocr"}}]
    return {name: messages, "plugins": plugins}


def _advisor(wire: WireName) -> Body:
    model = "~anthropic/claude-haiku-latest"
    if wire == "anthropic_messages":
        return {"tools": [{"type": "advisor_20260301", "name": "advisor", "model": model}]}
    parameters = {"model": model, "max_completion_tokens": 500}
    return {"tools": [{"type": "openrouter:advisor", "parameters": parameters}]}


def _speech(_: WireName) -> Body:
    audio = {"voice": "alloy", "format": "pcm16"}
    model, modalities = "openai/gpt-audio-mini", ["text", "audio"]
    return {"model": model, "modalities": modalities, "audio": audio, "max_tokens": 2_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """A feature that is billed in its own way."""

    name: str
    share: float
    """Share of all calls."""
    fields: Callable[[WireName], Body]
    is_seen: Callable[[Mapping[str, Any]], bool]
    """Returns whether a billed call used this feature."""
    wires: tuple[WireName, ...] = WIRES


def _extra(kind: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda call: any(one["kind"] == kind for one in call["extras"])


def _tier(tier: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda call: call["service_tier"] == tier


FEATURES = (
    Feature(
        name="web plugin",
        share=0.04,
        fields=_web_plugin,
        is_seen=lambda call: any(one["usd"] == PLUGIN_FEE for one in call["extras"]),
    ),
    Feature(
        name="search tool",
        share=0.05,
        fields=_search_tool,
        is_seen=lambda call: any(
            one["kind"] == "web_search" and one["usd"] != PLUGIN_FEE for one in call["extras"]
        ),
    ),
    Feature(
        name="dear fallback",
        share=0.06,
        fields=_model_list,
        is_seen=lambda call: call["model"] == DEAR_FALLBACK,
    ),
    Feature(name="flex", share=0.04, fields=_flex, is_seen=_tier("flex")),
    Feature(name="priority", share=0.04, fields=_priority, is_seen=_tier("priority")),
    Feature(
        name="fast Claude",
        share=0.03,
        fields=_fast_claude,
        is_seen=lambda call: call["model"].endswith("-fast"),
    ),
    Feature(
        name="image",
        share=0.03,
        fields=_image,
        is_seen=lambda call: call["image_tokens"] > 0,
        wires=("openai_chat", "openai_responses"),
    ),
    Feature(name="PDF", share=0.03, fields=_pdf, is_seen=_extra("pdf")),
    Feature(name="advisor", share=0.03, fields=_advisor, is_seen=_extra("advisor")),
    Feature(
        name="speech",
        share=0.02,
        fields=_speech,
        is_seen=lambda call: call["audio_tokens"] > 0,
        wires=("openai_chat",),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call: its request, and how its reply is read."""

    request: ChatRequest
    leaves: bool
    """Whether the reader leaves after the first event."""
    is_whole: bool


def make_call(number: int) -> Call:
    """Return the call with this number."""
    chance = random.Random(number)  # noqa: S311 - a script of calls, no secret
    feature = _choose(chance, FEATURES)
    wire = chance.choice(WIRES if feature is None else feature.wires)
    body = _plain_body(wire, number, chance)
    if feature is not None:
        body |= feature.fields(wire)
    leaves = chance.random() < CANCELLED_SHARE
    is_whole = not leaves and feature is not FEATURES[-1] and chance.random() < WHOLE_SHARE
    request = get_dialect(wire).decode_request({**body, "stream": not is_whole}, {})
    if chance.random() < METERED_SHARE:
        request = replace(request, attribution=Attribution(project=METERED_PROJECT))
    if chance.random() < CEILING_SHARE:
        request = replace(request, max_cost_usd=CEILING_USD)
    return Call(request=request, leaves=leaves, is_whole=is_whole)


def _choose(chance: random.Random, features: Iterable[Feature]) -> Feature | None:
    drawn = chance.random()
    for feature in features:
        drawn -= feature.share
        if drawn < 0:
            return feature
    return None


def _plain_body(wire: WireName, number: int, chance: random.Random) -> Body:
    question = f"Question {number}: say something."
    model, limit = chance.choice(MODELS), chance.randrange(16, 256)
    if wire == "openai_responses":
        return {"model": model, "input": question, "max_output_tokens": limit}
    messages = [{"role": "user", "content": question}]
    return {"model": model, "messages": messages, "max_tokens": limit}
