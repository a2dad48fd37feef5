"""Describes what a request needs and what a model can do as bit sets, which compare quickly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import IntFlag

from devflow_core.media_tokens import max_media_tokens, media_tokens
from devflow_core.messages import Media, ToolResult
from devflow_core.request import ChatRequest
from devflow_core.tokens import TextSize


class Capability(IntFlag):
    """The abilities that a request may need of a model."""

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
"""Capabilities by a catalogue row's words for modalities, which are also the kinds of `Media`."""
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


def media_kinds(capabilities: Capability) -> tuple[str, ...]:
    """Return the kinds of media that these capabilities read."""
    return tuple(kind for kind, one in _BY_MODALITY.items() if one in capabilities)


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


def list_parameters(capabilities: Capability) -> list[str]:
    """Return the `supported_parameters` of a catalogue row that the capabilities stand for."""
    return [word for word, one in _BY_PARAMETER.items() if one in capabilities]


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """The requirements that a request has of the model that answers it.

    Parallel tool calls are not included: the catalogue lists the parameter for 6 of 413 models,
    although nearly all models with tools also call several at once (snapshot of 2026-08-16).
    """

    capabilities: Capability = NO_CAPABILITIES
    size: TextSize = field(default_factory=TextSize)
    """The length of the input, before a tokenizer is chosen."""
    input_tokens: int | None = None
    """The count that the caller gave; it replaces the estimate from `size`. None: estimated."""
    max_output_tokens: int | None = None
    """The limit that the caller set; None if there is none."""
    files: int = 0
    """The number of files that may have to be read for the model."""
    max_file_tokens: int = 0
    """The most tokens that media sent in the request may hold, in addition to those in `size`."""
    is_prompt_open: bool = False
    """Whether some media are not in the request itself; only the window bounds the input then."""
    replaceable_media: Capability = NO_CAPABILITIES
    """Media that become notes at a model that cannot take them."""
    asked_media: Capability = NO_CAPABILITIES
    """Media in the newest message that a note cannot replace, since the user asks about them."""
    media_tokens: tuple[tuple[Capability, int], ...] = ()
    """The tokens in `size` of all media, by the capability to read them."""

    def without_media(self, kinds: Capability) -> Needs:
        """Return the needs of the same request with notes in the place of some kinds of media."""
        left = tuple((kind, count) for kind, count in self.media_tokens if kind not in kinds)
        tokens = sum(count for kind, count in self.media_tokens if kind in kinds)
        needs = replace(
            self,
            capabilities=self.capabilities & ~kinds,
            size=replace(self.size, extra_tokens=self.size.extra_tokens - tokens),
            media_tokens=left,
            files=0 if Capability.FILES in kinds else self.files,
        )
        if any(kind in _MAY_BE_LONG for kind, _ in left):
            return needs
        return replace(needs, max_file_tokens=0, is_prompt_open=False)


def needs_of(request: ChatRequest) -> Needs:
    """Return what this request needs: tools, media, format, reasoning, tokens in and out."""
    criteria = request.criteria
    size, media = _input_needs(request)
    output = _output_needs(request)
    needs = Needs(
        capabilities=media | output if media else output,
        size=size,
        input_tokens=criteria.context_tokens if criteria else None,
        max_output_tokens=request.max_output_tokens,
    )
    if not media:
        return needs
    return _with_media(needs, request)


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


_MAY_BE_LONG = Capability.FILES | Capability.AUDIO | Capability.VIDEO
"""Media that may hold more tokens than the request shows."""
_UNREAD_MEDIA = Capability.IMAGES | Capability.AUDIO | Capability.VIDEO
"""Media that the provider does not read for a model that cannot take them, unlike files."""
_ALL_MEDIA = _UNREAD_MEDIA | Capability.FILES
"""Media replaced for Claude Code, which would pay for reading a file again in every request."""


def _input_needs(request: ChatRequest) -> tuple[TextSize, Capability]:
    """Return how much text and media go in, and the capabilities needed to read them."""
    size, needed = TextSize.from_request(request), NO_CAPABILITIES
    for message in request.messages:
        for part in message.parts:
            if isinstance(part, Media):
                needed |= _BY_MODALITY[part.kind]
            elif isinstance(part, ToolResult):
                for inner in part.parts:
                    if isinstance(inner, Media):
                        needed |= _BY_MODALITY[inner.kind]
    return size, needed


def _with_media(needs: Needs, request: ChatRequest) -> Needs:
    """Return the needs with what its media hold, and with the media that the user asks about."""
    files = max_tokens = 0
    is_open = False
    counts: dict[Capability, int] = {}
    for media in _all_media(request):
        kind = _BY_MODALITY[media.kind]
        counts[kind] = counts.get(kind, 0) + media_tokens(media)
        most = max_media_tokens(media)
        if most is None:
            continue
        files += media.kind == "file"
        is_open = is_open or media.base64 is None
        max_tokens += most
    return replace(
        needs,
        files=files,
        max_file_tokens=max_tokens,
        is_prompt_open=is_open,
        replaceable_media=_ALL_MEDIA if _is_claude_code(request) else _UNREAD_MEDIA,
        asked_media=_asked_media(request),
        media_tokens=tuple(counts.items()),
    )


def _asked_media(request: ChatRequest) -> Capability:
    """Return the media of the newest message, unless tools have returned them.

    There are none for Claude Code: it sends a message again in every later request, even one that
    was refused, so that a refusal would end the session.
    """
    asked = NO_CAPABILITIES
    if _is_claude_code(request):
        return asked
    turns = [one for one in request.messages if one.role != "system"]
    newest = turns[-1].parts if turns and turns[-1].role == "user" else ()
    if any(isinstance(part, ToolResult) for part in newest):
        return asked
    for part in newest:
        if isinstance(part, Media):
            asked |= _BY_MODALITY[part.kind] & _UNREAD_MEDIA
    return asked


def _is_claude_code(request: ChatRequest) -> bool:
    return request.attribution.agent is not None


def _all_media(request: ChatRequest) -> Iterator[Media]:
    for message in request.messages:
        for part in message.parts:
            inner = part.parts if isinstance(part, ToolResult) else (part,)
            yield from (one for one in inner if isinstance(one, Media))
