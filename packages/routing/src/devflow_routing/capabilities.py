"""Describes what a request needs and what a model can do as bit sets, which compare quickly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import IntFlag

from devflow_core.media_tokens import max_media_tokens
from devflow_core.messages import Media, ToolResult
from devflow_core.request import ChatRequest
from devflow_core.tokens import TextSize


class Capability(IntFlag):
    """Things that a model can or cannot do."""

    TOOLS = 1
    TOOL_CHOICE = 2
    IMAGES = 4
    FILES = 8
    AUDIO = 16
    VIDEO = 32
    JSON = 64
    """Accepts `response_format: json_object`."""
    JSON_SCHEMA = 128
    REASONING = 256
    NO_REASONING = 512
    """Can answer without reasoning first."""


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
    """Return the capabilities in words, as in `tools and images`; empty for none."""
    words = [_DESCRIPTIONS[one] for one in _ALL if one & capabilities]
    return " and ".join(words)


def parse_capabilities(
    parameters: Iterable[str], modalities: Iterable[str], *, is_reasoning_mandatory: bool
) -> Capability:
    """Return what a model can do according to its catalogue row.

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


def list_modalities(capabilities: Capability) -> list[str]:
    """Return what a model reads besides text, in a catalogue row's words."""
    return [word for word, one in _BY_MODALITY.items() if one in capabilities]


def list_parameters(capabilities: Capability) -> list[str]:
    """Return the `supported_parameters` of a catalogue row that the capabilities stand for."""
    return [word for word, one in _BY_PARAMETER.items() if one in capabilities]


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a request requires of the model that answers it.

    Parallel tool calls are not included: the catalogue lists the parameter for 6 of 413 models,
    although nearly all models with tools also call several at once (snapshot of 2026-08-16).
    """

    capabilities: Capability = NO_CAPABILITIES
    size: TextSize = field(default_factory=TextSize)
    """The length of the input, before a tokenizer is chosen."""
    input_tokens: int | None = None
    """Set if the caller knows the count; it replaces the estimate from `size`."""
    max_output_tokens: int | None = None
    """The limit that the caller set; None if there is none."""
    files: int = 0
    """The number of files that may have to be read for the model."""
    max_file_tokens: int = 0
    """The most tokens that media sent in the request may hold, in addition to those in `size`."""
    is_prompt_open: bool = False
    """Whether some media are not in the request itself; only the window bounds the input then."""
    is_zero_retention: bool = False
    """Whether only endpoints that keep no data may answer.

    The choice is restricted to models with such an endpoint, as far as the catalogue knows them;
    the provider always enforces it, since the request says so.
    """


def needs_of(request: ChatRequest) -> Needs:
    """Return what this request needs: tools, media, format, reasoning, tokens in and out."""
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
    """Return how much text and media go in, and the capabilities needed to read them."""
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
    """Return the needs with an upper bound of the tokens in files, audio and video."""
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
