"""What a request needs and what a model can, as sets of bits that compare in nanoseconds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import IntFlag

from devflow_core.media_tokens import max_media_tokens
from devflow_core.messages import Media, ToolResult
from devflow_core.request import ChatRequest
from devflow_core.tokens import TextSize


class Capability(IntFlag):
    """One thing that a model can or cannot."""

    TOOLS = 1
    TOOL_CHOICE = 2
    IMAGES = 4
    FILES = 8
    AUDIO = 16
    VIDEO = 32
    JSON = 64
    """`response_format: json_object`."""
    JSON_SCHEMA = 128
    REASONING = 256
    NO_REASONING = 512
    """It can answer without thinking first."""


NO_CAPABILITIES = Capability(0)
_ALL = tuple(Capability)
_BY_PARAMETER = {
    "tools": Capability.TOOLS,
    "tool_choice": Capability.TOOL_CHOICE,
    "response_format": Capability.JSON,
    "structured_outputs": Capability.JSON_SCHEMA,
    "reasoning": Capability.REASONING,
}
_BY_MODALITY = {
    "image": Capability.IMAGES,
    "file": Capability.FILES,
    "audio": Capability.AUDIO,
    "video": Capability.VIDEO,
}
_DESCRIPTIONS = {
    Capability.TOOLS: "tools",
    Capability.TOOL_CHOICE: "a forced choice of tool",
    Capability.IMAGES: "images",
    Capability.FILES: "files",
    Capability.AUDIO: "audio",
    Capability.VIDEO: "video",
    Capability.JSON: "JSON output",
    Capability.JSON_SCHEMA: "output by a JSON schema",
    Capability.REASONING: "reasoning",
    Capability.NO_REASONING: "answering without reasoning",
}


def describe_capabilities(capabilities: int) -> str:
    """The capabilities in words, as in `tools and images`."""
    words = [_DESCRIPTIONS[one] for one in _ALL if one & capabilities]
    return " and ".join(words)


def parse_capabilities(
    parameters: Iterable[str], modalities: Iterable[str], *, is_reasoning_mandatory: bool
) -> Capability:
    """What a catalogue row says that the model can.

    Args:
        parameters: `supported_parameters`.
        modalities: `architecture.input_modalities`.
        is_reasoning_mandatory: `reasoning.mandatory`.
    """
    found = NO_CAPABILITIES if is_reasoning_mandatory else Capability.NO_REASONING
    for parameter in parameters:
        found |= _BY_PARAMETER.get(parameter, NO_CAPABILITIES)
    for modality in modalities:
        found |= _BY_MODALITY.get(modality, NO_CAPABILITIES)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a request asks of whoever answers it.

    Parallel tool calls are not among it: the catalogue lists the parameter for 6 of 413 models,
    although nearly all that take tools also call several (snapshot of 2026-08-16).
    """

    capabilities: Capability = NO_CAPABILITIES
    size: TextSize = field(default_factory=TextSize)
    """How long the input is, before a tokenizer is chosen."""
    input_tokens: int | None = None
    """Set when the caller knows; it replaces the estimate from `size`."""
    max_output_tokens: int | None = None
    """What the caller asked for at the most; None when it did not say."""
    files: int = 0
    """How many files that may have to be read for the model."""
    max_file_tokens: int = 0
    """What those that came with the request may hold, beside what `size` reckons with."""
    is_prompt_open: bool = False
    """Files are elsewhere, so only the window bounds what goes in."""
    is_zero_retention: bool = False
    """Only endpoints that keep nothing. The choice keeps to models that have one, as far as the
    catalogue knows; the upstream is told so with the request, and keeps to it always."""


def needs_of(request: ChatRequest) -> Needs:
    """What this request needs: tools, media, format, reasoning, tokens in and out."""
    criteria = request.criteria
    size, media = _input_needs(request)
    needs = Needs(
        capabilities=media | _output_needs(request),
        size=size,
        input_tokens=criteria.context_tokens if criteria else None,
        max_output_tokens=request.max_output_tokens,
        is_zero_retention=_wants_zero_retention(request),
    )
    return _with_files(needs, request) if media & _MAY_BE_LONG else needs


def _output_needs(request: ChatRequest) -> Capability:
    found = NO_CAPABILITIES
    if request.tools:
        found |= Capability.TOOLS
        choice = request.tool_choice
        if choice is not None and choice.mode in ("required", "tool"):
            found |= Capability.TOOL_CHOICE
    if request.response_format is not None:
        is_schema = request.response_format.kind == "json_schema"
        found |= Capability.JSON_SCHEMA if is_schema else Capability.JSON
    thinking = request.reasoning
    if thinking is not None:
        if thinking.enabled is False or thinking.effort == "none":
            found |= Capability.NO_REASONING
        elif thinking.enabled or thinking.effort or thinking.max_tokens:
            found |= Capability.REASONING
    return found


_BY_MEDIA_KIND = {
    "image": Capability.IMAGES,
    "file": Capability.FILES,
    "audio": Capability.AUDIO,
    "video": Capability.VIDEO,
}


_MAY_BE_LONG = Capability.FILES | Capability.AUDIO | Capability.VIDEO


def _input_needs(request: ChatRequest) -> tuple[TextSize, Capability]:
    """How much text and media go in, and what it takes to read them."""
    size, needed = TextSize.from_request(request), NO_CAPABILITIES
    for message in request.messages:
        for part in message.parts:
            if isinstance(part, Media):
                needed |= _BY_MEDIA_KIND[part.kind]
            elif isinstance(part, ToolResult):
                for inner in part.parts:
                    if isinstance(inner, Media):
                        needed |= _BY_MEDIA_KIND[inner.kind]
    return size, needed


def _with_files(needs: Needs, request: ChatRequest) -> Needs:
    """The needs with what files, sound and film may hold at the most."""
    files = tokens = 0
    is_open = False
    for media in _all_media(request):
        most = max_media_tokens(media)
        if most is None:
            continue
        files += media.kind == "file"
        is_open = is_open or media.base64 is None
        tokens += most
    return replace(needs, files=files, max_file_tokens=tokens, is_prompt_open=is_open)


def _all_media(request: ChatRequest) -> Iterator[Media]:
    for message in request.messages:
        for part in message.parts:
            inner = part.parts if isinstance(part, ToolResult) else (part,)
            yield from (one for one in inner if isinstance(one, Media))


def _wants_zero_retention(request: ChatRequest) -> bool:
    provider = request.extra.get("provider")
    return isinstance(provider, dict) and bool(provider.get("zdr"))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
