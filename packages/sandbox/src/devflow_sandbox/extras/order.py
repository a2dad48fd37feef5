"""Reads what a request orders besides a reply, from its body in any dialect."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

from devflow_sandbox.api_error import invalid_request
from devflow_sandbox.catalogue.models import NO_LIMITS, RouterLimits
from devflow_sandbox.catalogue.services import (
    CHARACTERS_BY_CONTEXT,
    MAX_STEPS,
    MAX_TOTAL_RESULTS,
    TOKENS_PER_RESULT,
    Tier,
)
from devflow_sandbox.extras.model_order import ModelOrder, read_fusion_plugin, read_model_tool
from devflow_sandbox.message import JsonObject
from devflow_sandbox.parsed_request import BodyReader

_MAX_RESULTS = 25
"""The most results of one search by other engines; a request for more gets this many."""
_MAX_PERPLEXITY_RESULTS = 20
"""The most results of one search by Perplexity; a request for more gets this many."""
_CHARACTERS_PER_TOKEN = 4
"""The characters that count as one token, as in `Block.tokens`."""
_TIERS: dict[str, Tier] = {
    "flex": "flex",
    "priority": "priority",
    "fast": "priority",
    "ultrafast": "ultrafast",
}
_MODALITIES = frozenset({"text", "image", "audio"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOrder:
    """Web searches that a request allows."""

    engine: str = "auto"
    """`auto`, `native`, or the engine's name."""
    mode: str | None = None
    """The engine's mode, which decides the fee; None is its default."""
    max_results: int = 5
    """The most results of one search."""
    max_uses: int | None = None
    """The most searches; None: only the limits of the request apply."""
    max_total_results: int = MAX_TOTAL_RESULTS
    """The most results of all searches of the request."""
    tokens_per_result: int = TOKENS_PER_RESULT
    """The tokens that each result adds to the prompt."""
    is_plugin: bool = False
    """Whether to search once, before the model is called; if not, the model decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchOrder:
    """Page fetches that a request allows."""

    engine: str = "auto"
    """`auto`, `native`, or the engine's name."""
    max_uses: int | None = None
    """The most pages; None: only the limits of the request apply."""
    max_content_tokens: int | None = None
    """The most tokens that a page may add to the prompt; None: `TOKENS_PER_FETCH`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Everything a request orders besides the reply."""

    searches: tuple[SearchOrder, ...] = ()
    fetches: tuple[FetchOrder, ...] = ()
    models: tuple[ModelOrder, ...] = ()
    other_tools: int = 0
    """The number of tools that OpenRouter runs without charge."""
    pdf_engine: str | None = None
    """The engine that reads PDFs; None and `native`: the model, or `mistral-ocr` if it cannot."""
    max_steps: int = MAX_STEPS
    """The most calls of server tools in the whole request."""
    tier: Tier = "default"
    is_tier_pinned: bool = False
    """Whether the default tier was requested by name, so that no suffix changes it."""
    modalities: frozenset[str] = frozenset()
    """The requested forms of the reply: `text`, `image`, `audio`; empty means text."""
    choices: int = 1
    """The number of replies that are asked for (`n`)."""

    @property
    def is_empty(self) -> bool:
        """Whether no service and no tool is ordered; PDFs may still have to be read."""
        return not (self.searches or self.fetches or self.models or self.other_tools)

    def search_once(self) -> Order:
        """Return the order with the search that `:online` or a model that always searches implies.

        An order that has searches is returned as it is.
        """
        if self.searches:
            return self
        return replace(self, searches=(SearchOrder(is_plugin=True),))

    def ask_panel(self) -> Order:
        """Return the order with the panel of `openrouter/fusion`, unless it has one already."""
        if any(one.kind == "fusion" for one in self.models):
            return self
        return replace(self, models=(*self.models, read_fusion_plugin(BodyReader({}))))


PLAIN = Order()
_MARKS = frozenset(
    {
        *("tools", "plugins", "web_search_options", "service_tier", "speed", "modalities", "n"),
        *("max_tool_calls", "stop_server_tools_when"),
    }
)


def read_order(body: JsonObject) -> Order:
    """Return the order of a body in any dialect; `PLAIN` if it orders nothing.

    Raises:
        ApiError: 400, naming the field.
    """
    # the ordinary request, which orders nothing
    if _MARKS.isdisjoint(body):
        return PLAIN
    reader = BodyReader(body)
    plugins = [one for one in reader.objects("plugins") if one.get("enabled", True)]
    tools = _ToolReader()
    for tool in reader.objects("tools"):
        tools.read(tool)
    for plugin in plugins:
        tools.read_plugin(plugin)
    # the older form; a plugin or tool for the same search replaces it
    if body.get("web_search_options") is not None and not tools.searches:
        tools.searches.append(SearchOrder(is_plugin=True))
    tier = _read_tier(reader)
    return Order(
        searches=tuple(tools.searches),
        fetches=tuple(tools.fetches),
        models=tuple(tools.models),
        other_tools=tools.others,
        pdf_engine=tools.pdf_engine,
        max_steps=_read_steps(reader),
        tier=tier,
        is_tier_pinned=body.get("service_tier") == "default",
        modalities=_read_modalities(reader),
        choices=reader.count("n") or 1,
    )


class _ToolReader:
    """Sorts the tools and plugins of a request by what they order."""

    def __init__(self) -> None:
        self.searches: list[SearchOrder] = []
        self.fetches: list[FetchOrder] = []
        self.models: list[ModelOrder] = []
        self.others = 0
        self.pdf_engine: str | None = None

    def read(self, tool: JsonObject) -> None:
        """Read one of `tools`, in the form of OpenRouter, OpenAI or Anthropic."""
        kind = str(tool.get("type", "function"))
        if kind in ("function", "custom"):
            return
        name = kind.removeprefix("openrouter:")
        settings = BodyReader({**tool, **BodyReader(tool, "tools.").object("parameters")}, "tools.")
        if name.startswith("web_search"):
            self.searches.append(_read_search(settings, is_plugin=False))
        elif name.startswith(("web_fetch", "web-fetch")):
            self.fetches.append(_read_fetch(settings))
        elif (order := read_model_tool(name, settings)) is not None:
            self.models.append(order)
        elif kind.startswith("openrouter:"):
            self.others += 1

    def read_plugin(self, plugin: JsonObject) -> None:
        """Read one enabled entry of `plugins`; unknown ids are ignored."""
        reader = BodyReader(plugin, "plugins.")
        match plugin.get("id"):
            case "web":
                self.searches.append(_read_search(reader, is_plugin=True))
            case "web-fetch":
                self.fetches.append(_read_fetch(reader))
            case "fusion":
                self.models.append(read_fusion_plugin(reader))
            case "file-parser":
                pdf = BodyReader(reader.object("pdf"), "plugins.pdf.")
                self.pdf_engine = pdf.text("engine")
            case _:
                pass


def _read_search(reader: BodyReader, *, is_plugin: bool) -> SearchOrder:
    engine = reader.text("engine") or "auto"
    most = _MAX_PERPLEXITY_RESULTS if engine == "perplexity" else _MAX_RESULTS
    characters = reader.count("max_characters")
    if characters is None:
        characters = CHARACTERS_BY_CONTEXT.get(reader.text("search_context_size") or "")
    tokens = TOKENS_PER_RESULT if characters is None else -(-characters // _CHARACTERS_PER_TOKEN)
    return SearchOrder(
        engine=engine,
        mode=reader.text("mode"),
        max_results=min(most, reader.count("max_results") or 5),
        max_uses=reader.count("max_uses"),
        max_total_results=reader.count("max_total_results") or MAX_TOTAL_RESULTS,
        tokens_per_result=tokens,
        is_plugin=is_plugin,
    )


def _read_fetch(reader: BodyReader) -> FetchOrder:
    return FetchOrder(
        engine=reader.text("engine") or "auto",
        max_uses=reader.count("max_uses"),
        max_content_tokens=reader.count("max_content_tokens"),
    )


def _read_steps(reader: BodyReader) -> int:
    """Return the limit of tool calls; `stop_server_tools_when` overrides `max_tool_calls`."""
    stops = reader.objects("stop_server_tools_when")
    counts = [one["step_count"] for one in stops if isinstance(one.get("step_count"), int)]
    if stops:
        return min([*counts, MAX_STEPS])
    return min(reader.count("max_tool_calls") or MAX_STEPS, MAX_STEPS)


def _read_tier(reader: BodyReader) -> Tier:
    """Read `service_tier`, or Anthropic's equivalent `speed`."""
    named = reader.text("service_tier")
    if named is not None:
        return _TIERS.get(named, "default")
    return "priority" if reader.text("speed") == "fast" else "default"


def _read_modalities(reader: BodyReader) -> frozenset[str]:
    modalities = frozenset(reader.texts("modalities"))
    if not modalities <= _MODALITIES:
        raise invalid_request("Invalid input: modalities: expected 'text', 'image' or 'audio'")
    return modalities


def read_hashes(body: JsonObject) -> frozenset[str]:
    """Return the hashes of PDFs whose text the client sends back; they are not read again."""
    messages = body.get("messages")
    found: list[str] = []
    for message in cast("list[JsonObject]", messages) if isinstance(messages, list) else []:
        annotations = cast("list[JsonObject]", message.get("annotations") or [])
        files = [one.get("file") for one in annotations if one.get("type") == "file"]
        found += [str(cast(JsonObject, one).get("hash")) for one in files if isinstance(one, dict)]
    return frozenset(found)


def read_router_limits(body: JsonObject, router: str) -> RouterLimits:
    """Return the models a router may choose; `NO_LIMITS` if the body sets none.

    Only the plugin with the router's own name counts.
    """
    for plugin in BodyReader(body).objects("plugins") if body.get("plugins") else []:
        if plugin.get("id") == f"{router.removeprefix('openrouter/')}-router":
            reader = BodyReader(plugin, "plugins.")
            return RouterLimits(
                allowed=reader.texts("allowed_models"), excluded=reader.texts("excluded_models")
            )
    return NO_LIMITS
