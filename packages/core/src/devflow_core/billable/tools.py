"""Reads what the tools and plugins of a body may cost, and which models they may ask."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from devflow_core.billable import fields
from devflow_core.billable.found import Found, as_object
from devflow_core.billable.values import Searches
from devflow_core.messages import JsonObject
from devflow_core.request import SERVER_TOOL_PREFIX
from devflow_core.safe_text import plain_word

MAX_DEFAULT_RESULTS = 5
"""Results of one search if the body sets no number (the router's API description of 2026-08-22)."""
# modes of a search with a known price
_MODES = (
    None, "instant", "fast", "auto", "deep-lite", "deep", "deep-reasoning", "turbo", "basic",
    "advanced",
)  # fmt: skip
_OWN_ENGINES = ("exa", "parallel", "perplexity")
"""Engines that the router charges at their own price, and that respect `max_uses`."""
_CODEX_ADVICE = (
    'Codex cannot set it, but leaves the tool out with web_search = "disabled" in its config.toml'
)
"""What helps where the tool is the one that Codex offers by default; no other client sends it."""
_NO_BOUND = "nothing bounds how often it runs, so the cost has no limit"


def read_tools(found: Found, tools: object, path: str) -> None:
    """Record what a list of tools may cost."""
    for index, tool in enumerate(as_list(tools)):
        kind = as_object(tool).get("type")
        if not isinstance(tool, dict):
            found.doubt(f"{path}.{index}", "a tool is an object with a type")
        elif (kind is None or isinstance(kind, str)) and kind in fields.CLIENT_TOOLS:
            continue
        else:
            _read_tool(found, as_object(cast("object", tool)), str(kind), f"{path}.{index}")


def read_plugins(found: Found, plugins: object, path: str) -> None:
    """Record what a list of plugins may cost; one that is switched off costs nothing."""
    for index, plugin in enumerate(as_list(plugins)):
        where = f"{path}.{index}"
        if not isinstance(plugin, dict):
            found.doubt(where, "a plugin is an object with an id")
            continue
        values = cast("JsonObject", plugin)
        given = values.get("id")
        name = given if isinstance(given, str) else ""
        if values.get("enabled") is False or name in fields.FREE_PLUGINS:
            continue
        reader = _PLUGINS.get(name)
        if reader is None:
            found.doubt(where, f"the cost of the plugin {plain_word(name)} is unknown")
        else:
            reader(found, values, where)


def as_list(value: object) -> list[Any]:
    """Return a list unchanged, an empty one for None, and any other value as a list of one."""
    if value is None:
        return []
    return cast("list[Any]", value) if isinstance(value, list) else [value]


def _read_tool(found: Found, tool: JsonObject, kind: str, path: str) -> None:
    if kind == "namespace":
        read_tools(found, tool.get("tools"), f"{path}.tools")
    elif fields.DATED_CLIENT_TOOLS.fullmatch(kind) or (kind == "shell" and _is_local(tool)):
        return
    elif fields.SEARCH_TOOLS.fullmatch(kind):
        _read_search(found, tool, path)
    elif kind.startswith("advisor_20"):
        _read_model_tool(found, tool, "advisor", path)
    elif kind.startswith(SERVER_TOOL_PREFIX):
        _read_server_tool(found, tool, kind.removeprefix(SERVER_TOOL_PREFIX), path)
    else:
        name_models(found, tool, path)
        found.doubt(path, f"the cost of the tool {plain_word(kind)} is unknown")


def _is_local(tool: JsonObject) -> bool:
    """Return whether the client runs a shell tool: its environment is local or not given."""
    environment = tool.get("environment")
    return environment is None or as_object(environment).get("type") == "local"


def _read_server_tool(found: Found, tool: JsonObject, name: str, path: str) -> None:
    """Read a tool that the router runs in extra turns of the model within the same request."""
    parameters = tool.get("parameters")
    values = as_object(parameters)
    if name in ("web_search", "web_fetch"):
        _read_search(found, values, f"{path}.parameters")
    elif name in _MODEL_TOOLS:
        _read_model_tool(found, values, name, f"{path}.parameters")
    else:
        name_models(found, values, f"{path}.parameters")
        found.loop(path)
        if name not in _FREE_LOOPS:
            concerns = "cost" if name in _RUN_HERE else "both"
            found.doubt(path, f"the cost of {plain_word(name)} is unknown", concerns)


_MODEL_TOOLS: Mapping[str, tuple[str, str]] = {
    "advisor": ("model", "without it the model chooses whom to ask; name one"),
    "subagent": ("model", "name the model that is asked"),
    "fusion": ("analysis_models", "without it, unnamed models may be asked; name them"),
    "image_generation": ("model", "name the model that draws"),
}
"""Tools that ask other models: the key that names them, and what to do when it is missing."""
# tools whose fee is unknown, but which ask no other model
_RUN_HERE = ("bash", "shell", "files", "apply_patch", "experimental__search_models")
_FREE_LOOPS = ("datetime", "tool_search")
"""Tools that cost nothing but the turns of the model."""


def _read_model_tool(found: Found, values: JsonObject, name: str, path: str) -> None:
    """Read a tool that asks other models; the router ignores `max_uses` of Anthropic's advisor."""
    key, why = _MODEL_TOOLS[name]
    name_models(found, values, path)
    read_tools(found, values.get("tools"), f"{path}.tools")
    if not values.get(key):
        found.doubt(f"{path}.{key}", why, "models")
    found.doubt(path, _NO_BOUND, "cost")


def _read_search(found: Found, values: JsonObject, path: str) -> None:
    """Read a tool with which the model searches, as often as it likes up to `max_uses`."""
    max_uses = found.count(values.get("max_uses"))
    if max_uses is None:
        advice = _CODEX_ADVICE if "external_web_access" in values else "set it"
        found.doubt(f"{path}.max_uses", f"without it the cost has no limit; {advice}", "cost")
    _add_search(found, values, path, max_count=max_uses or 0, is_once=False)


def _read_web_plugin(found: Found, values: JsonObject, path: str) -> None:
    """Read the plugin that searches once before the model answers."""
    _add_search(found, values, path, max_count=1, is_once=True)


def _add_search(
    found: Found, values: JsonObject, path: str, *, max_count: int, is_once: bool
) -> None:
    for key in values.keys() - fields.SEARCH_FIELDS:
        found.doubt(f"{path}.{plain_word(key)}", "the cost of this is unknown", "cost")
    if values.get("mode") not in _MODES:
        found.doubt(f"{path}.mode", "the price of this mode is not known", "cost")
    results = values.get("max_results")
    max_results = MAX_DEFAULT_RESULTS if results is None else found.count(results)
    if max_results is None:
        found.doubt(f"{path}.max_results", "must be a whole number of at least 1", "cost")
    found.searches.append(
        Searches(
            path=path,
            max_count=max_count,
            max_results=max_results or MAX_DEFAULT_RESULTS,
            may_be_native=values.get("engine") not in _OWN_ENGINES,
            is_once=is_once,
        )
    )


def _read_file_parser(found: Found, values: JsonObject, path: str) -> None:
    pdf = values.get("pdf")
    engine = as_object(pdf).get("engine")
    if engine in ("cloudflare-ai", "pdf-text"):
        found.pdf_engine = "free"
    elif engine == "mistral-ocr":
        found.pdf_engine = "ocr"
    elif engine not in (None, "native"):  # both leave the file to the model, if it can read one
        found.doubt(f"{path}.pdf.engine", "the price of this engine is not known", "cost")


def _read_auto_router(found: Found, values: JsonObject, path: str) -> None:
    """Read a plugin that chooses among models; they are known only if each is named."""
    names = as_list(values.get("allowed_models"))
    is_open = not names or any(not isinstance(one, str) or set(one) & set("*?[") for one in names)
    if is_open:
        found.doubt(f"{path}.allowed_models", "name every model; a pattern may be any", "models")
    name_models(found, values, path, as_alternates=True)


def _read_fusion(found: Found, values: JsonObject, path: str) -> None:
    if not values.get("analysis_models") or not values.get("model"):
        found.doubt(path, "unnamed models may be asked; name them", "models")
    name_models(found, values, path)
    read_tools(found, values.get("tools"), f"{path}.tools")
    found.doubt(path, _NO_BOUND, "cost")


def name_models(
    found: Found, values: JsonObject, path: str, *, as_alternates: bool = False
) -> None:
    """Record every model that these parameters name: as one asked inside, or as an alternate."""
    for model, where in _models_in(values, path):
        found.name(model, where, is_inside=not as_alternates)


def _models_in(value: object, path: str) -> Iterator[tuple[object, str]]:
    if isinstance(value, dict):
        for key, inner in cast("dict[str, Any]", value).items():
            if key in fields.MODEL_KEYS and not isinstance(inner, bool):
                yield from _leaves(inner, f"{path}.{key}")
            else:
                yield from _models_in(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(cast("list[Any]", value)):
            yield from _models_in(inner, f"{path}.{index}")


def _leaves(value: object, path: str) -> Iterator[tuple[object, str]]:
    """Yield the models, with paths, of a string, an object with `model`, or a list of either."""
    if isinstance(value, list):
        for index, inner in enumerate(cast("list[Any]", value)):
            yield from _leaves(inner, f"{path}.{index}")
    elif isinstance(value, dict):
        yield cast("JsonObject", value).get("model"), f"{path}.model"
    elif value is not None:
        yield value, path


_Reader = Callable[[Found, JsonObject, str], None]
_PLUGINS: Mapping[str, _Reader] = {
    "web": _read_web_plugin,
    "web-fetch": _read_search,
    "file-parser": _read_file_parser,
    "auto-router": _read_auto_router,
    "auto-beta-router": _read_auto_router,
    "fusion": _read_fusion,
}
