"""Reads what a request may cost besides its tokens; an ordinary request takes microseconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from functools import lru_cache
from typing import Any, cast

from devflow_core.billable import fields
from devflow_core.billable.found import Found, as_object
from devflow_core.billable.tools import as_list, read_plugins, read_tools
from devflow_core.billable.values import NOTHING_BESIDES, Billable
from devflow_core.messages import JsonObject
from devflow_core.request import ChatRequest
from devflow_core.safe_text import plain_word
from devflow_core.wire.table import dialect_of

# the names of the output limit in the three dialects; a body may hold more than one
_LIMIT_FIELDS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_TOOLS_ONLY = frozenset({"tools"})


def read_billable(request: ChatRequest) -> Billable:
    """Return what this request may be billed for, from the body, fields and tools that are sent."""
    origin = request.origin
    body = origin.body if origin else None
    source = request.extra if body is None else body
    limit = _larger_limit(request, source)
    special = source.keys() - dialect_of(request).free_fields
    tools: Any = source.get("tools")
    if body is None and request.tools:
        tools = [*as_list(tools), *(one.native for one in request.tools if one.native)]
    items = source.get("input")
    if special <= _TOOLS_ONLY and _are_client_tools(tools) and not _brings_tools(items):
        return _plain(limit)
    found = Found()
    _read_fields(found, source, special)
    read_tools(found, tools, "tools")
    _read_added_tools(found, items)
    found.max_output_tokens = limit
    billable = found.to_billable()
    return _plain(limit) if billable.is_plain else billable


@lru_cache(maxsize=256)
def _plain(limit: int | None) -> Billable:
    """Return the result for nearly every request; cached, since only the limit differs."""
    return NOTHING_BESIDES if limit is None else Billable(max_output_tokens=limit)


def _are_client_tools(tools: Any) -> bool:
    """Return whether the type of each tool is one of `CLIENT_TOOLS`; True if there are none."""
    if not tools:
        return True
    free = fields.CLIENT_TOOLS
    try:
        return all(one.get("type") in free for one in tools)
    except (AttributeError, TypeError):
        return False


def _brings_tools(items: Any) -> bool:
    """Return whether an item of the input brings tools along, as the responses dialect allows."""
    return isinstance(items, list) and any(
        isinstance(one, dict) and "tools" in one for one in cast("list[Any]", items)
    )


def _read_added_tools(found: Found, items: Any) -> None:
    if not _brings_tools(items):
        return
    for index, item in enumerate(as_list(items)):
        if isinstance(item, dict) and "tools" in item:
            read_tools(found, cast("JsonObject", item)["tools"], f"input.{index}.tools")


def _larger_limit(request: ChatRequest, body: JsonObject) -> int | None:
    """Return the largest output limit that the request sets under any name; None if none."""
    limit = request.max_output_tokens
    for name in _LIMIT_FIELDS:
        value = body.get(name)
        if value is not limit and type(value) is int and value > (limit or 0):
            limit = value
    return limit


def _read_fields(found: Found, source: JsonObject, special: Set[str]) -> None:
    for name in sorted(special):
        value = source[name]
        if value is None or name == "tools":
            continue
        reader = _READERS.get(name)
        if reader is not None:
            reader(found, value, name)
        elif value not in (False, [], {}):
            found.doubt(plain_word(name), "the cost of this field is unknown; leave it out")


def _read_models(found: Found, value: object, path: str) -> None:
    """Read models given as a list, a string or an object."""
    for index, one in enumerate(as_list(value)):
        where = f"{path}.{index}" if isinstance(value, list) else path
        if isinstance(one, dict):
            found.name(cast("JsonObject", one).get("model"), f"{where}.model")
        else:
            found.name(one, where)


def _read_preset(found: Found, value: object, path: str) -> None:
    found.name(f"@preset/{value}", path)
    found.doubt(path, "only the provider knows what a preset asks for", "cost")


def _read_tier(found: Found, value: object, path: str) -> None:
    speed = _TIERS.get(value) if isinstance(value, str) else None
    if speed is None:
        found.doubt(path, "the price of this service tier is not known", "cost")
    elif _SPEED_ORDER.index(speed) > _SPEED_ORDER.index(found.speed):
        found.speed = speed


def _read_speed(found: Found, value: object, path: str) -> None:
    if value == "fast":
        found.speed = "fast"
    elif value != "standard":
        found.doubt(path, "the price of this speed is not known", "cost")


def _read_provider(found: Found, value: object, path: str) -> None:
    """Read the `provider` preferences; a slash (`openai/priority`) names a tier's own endpoints."""
    preferences = as_object(value)
    for name in ("order", "only"):
        for one in as_list(preferences.get(name)):
            tier = one.rpartition("/")[2] if isinstance(one, str) else ""
            if tier in _TIERS:
                _read_tier(found, tier, f"{path}.{name}")


def _read_replies(found: Found, value: object, path: str) -> None:
    count = found.count(value)
    if count is None:
        found.doubt(path, "must be a whole number of at least 1", "cost")
    else:
        found.replies = count


def _read_modalities(found: Found, value: object, path: str) -> None:
    kinds = as_list(value)
    if any(one not in ("text", "image", "audio") for one in kinds):
        found.doubt(path, "the price of this kind of output is not known", "cost")
    known = {one for one in kinds if one in ("image", "audio")}
    found.output_kinds = tuple(sorted({*found.output_kinds, *known}))


def _read_audio(found: Found, _value: object, _path: str) -> None:
    found.output_kinds = tuple(sorted({*found.output_kinds, "audio"}))


def _read_native_search(found: Found, _value: object, path: str) -> None:
    why = (
        "the number of searches has no limit; use a search tool with max_uses, or the plugin "
        "`web` with the engine exa"
    )
    found.doubt(path, why, "cost")


def _read_context_management(found: Found, value: object, path: str) -> None:
    """Count compactions: each is another turn of the model over the whole conversation.

    Anthropic puts its edits in an object, OpenAI (with the one kind `compaction`) in a list.
    """
    if isinstance(value, list):
        edits, where = cast("list[Any]", value), path
    else:
        edits, where = as_list(as_object(value).get("edits")), f"{path}.edits"
    for index, edit in enumerate(edits):
        kind = as_object(edit).get("type")
        if isinstance(kind, str) and kind.startswith(("compact_", "compaction")):
            found.extra_turns += 1
        elif not (isinstance(kind, str) and kind.startswith("clear_")):
            found.doubt(f"{where}.{index}", "the cost of this edit is unknown", "cost")


def _read_steps(found: Found, value: object, _path: str) -> None:
    """Keep the smallest number of steps that ends the loop of server tools."""
    for one in as_list(value):
        rule = as_object(one)
        steps = found.count(rule.get("step_count"))
        if rule.get("type") == "step_count_is" and steps is not None:
            found.max_steps = min(found.max_steps or steps, steps)


def _read_max_tool_calls(found: Found, value: object, _path: str) -> None:
    # fields are read in alphabetical order, so this one comes first; steps may lower the number
    found.max_steps = found.count(value)


# cheapest first: the dearest that may be served decides
_SPEED_ORDER = ("standard", "priority", "ultrafast", "fast")
_TIERS: Mapping[str, Any] = {
    "auto": "standard",
    "default": "standard",
    "standard": "standard",
    "standard_only": "standard",
    "scale": "standard",
    "flex": "standard",
    "priority": "priority",
    "fast": "priority",
    "ultrafast": "ultrafast",
}
"""The speed whose price each service tier costs at most.

Flex is cheaper where it is served, but costs the standard price where it is not.
"""
_READERS: Mapping[str, Callable[[Found, Any, str], None]] = {
    "models": _read_models,
    "fallbacks": _read_models,
    "preset": _read_preset,
    "plugins": read_plugins,
    "service_tier": _read_tier,
    "speed": _read_speed,
    "provider": _read_provider,
    "n": _read_replies,
    "modalities": _read_modalities,
    "audio": _read_audio,
    "web_search_options": _read_native_search,
    "context_management": _read_context_management,
    "stop_server_tools_when": _read_steps,
    "max_tool_calls": _read_max_tool_calls,
}
"""The reader of each field that may cost something; other fields become doubts."""
