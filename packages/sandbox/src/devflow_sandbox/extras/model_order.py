"""Reads the tools through which a model calls others: advisors, subagents, painters, panels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from devflow_sandbox.api_error import invalid_request
from devflow_sandbox.parsed_request import BodyReader

ModelTool = Literal["advisor", "subagent", "image_generation", "fusion"]

DEFAULT_PAINTER = "openai/gpt-5-image"
"""The model that OpenRouter uses by default ("Image Generation", Configuration)."""
QUALITY_PANEL = ("~anthropic/claude-opus-latest", "~openai/gpt-latest", "~google/gemini-pro-latest")
"""OpenRouter's default panel ("Fusion", Configuration)."""
MAX_PANEL = 8
"""The most models of a panel, without its analyst; a request for more is refused."""
MAX_PANEL_STEPS = 16
"""The most searches of each model of a panel; a request for more gets this many."""
_PANEL_STEPS = 4
"""Searches of each model of a panel or of a subagent, if the request sets no limit."""
_PANEL_TOKENS = 16_000
"""Output tokens of each model of a panel, if the request sets no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOrder:
    """One tool that calls other models."""

    kind: ModelTool
    models: tuple[str | None, ...] = (None,)
    """Models called at each use; None is the answering model. A panel's analyst comes last."""
    max_tokens: int | None = None
    """Output tokens of each model; None: the model's own limit."""
    with_transcript: bool = False
    """Whether each model gets the whole prompt instead of a short one."""
    max_searches: int = 0
    """The number of searches each model may make."""
    max_uses: int | None = None
    """The most calls of the tool; None: only the limits of the request apply."""


def read_model_tool(name: str, reader: BodyReader) -> ModelOrder | None:
    """Return the order of a tool of this name; None if it calls no model.

    `max_uses` of Anthropic's advisor is ignored ("Advisor", Anthropic's native tool).

    Raises:
        ApiError: 400, naming the field; or the panel is too large.
    """
    if name == "fusion":
        return read_fusion_plugin(reader)
    if name == "image_generation":
        return ModelOrder(
            kind="image_generation", models=(reader.text("model") or DEFAULT_PAINTER,)
        )
    if name.startswith("advisor"):
        with_transcript = reader.flag("forward_transcript")
        return ModelOrder(
            kind="advisor",
            models=(reader.text("model"),),
            max_tokens=reader.count("max_completion_tokens"),
            with_transcript=with_transcript,
        )
    if name == "subagent":
        tools = reader.objects("tools")
        searches = any("web_search" in str(one.get("type")) for one in tools)
        return ModelOrder(
            kind="subagent",
            models=(reader.text("model"),),
            max_tokens=reader.count("max_completion_tokens"),
            max_searches=(reader.count("max_tool_calls") or _PANEL_STEPS) if searches else 0,
        )
    return None


def read_fusion_plugin(reader: BodyReader) -> ModelOrder:
    """Read the order of a panel and its analyst, run once a request ("Fusion", Hard failures).

    Raises:
        ApiError: 400, if the panel is too large.
    """
    panel = reader.texts("analysis_models") or QUALITY_PANEL
    if len(panel) > MAX_PANEL:
        raise invalid_request(f"Invalid input: analysis_models: expected at most {MAX_PANEL}")
    steps = min(reader.count("max_tool_calls") or _PANEL_STEPS, MAX_PANEL_STEPS)
    has_tools = reader.body.get("tools") != []
    return ModelOrder(
        kind="fusion",
        models=(*panel, reader.text("model")),
        max_tokens=reader.count("max_completion_tokens") or _PANEL_TOKENS,
        with_transcript=True,
        max_searches=steps if has_tools else 0,
        # a second panel in one request is refused ("Fusion", Hard failures)
        max_uses=1,
    )
