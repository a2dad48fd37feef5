"""Replies according to a script, turn by turn, so that an agent can be led through a task."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, TypeAdapter

from devflow_sandbox.catalogue.providers import Provider
from devflow_sandbox.parsed_request import ParsedRequest
from devflow_sandbox.replies.reply import EmittedToolCall, GeneratedReply


class _ReplyScriptForm(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TurnCondition(_ReplyScriptForm):
    """The request a turn answers; all given conditions must hold."""

    dialect: Literal["chat", "messages", "responses"] | None = None
    model: str | None = None
    """A pattern with `*` for the requested model."""
    contains: str | None = None
    """A text that some piece of the prompt contains."""
    has_tools: bool | None = None
    tool: str | None = None
    """The name of a tool that the request offers."""
    after_tool: bool | None = None
    """Whether the prompt ends with a tool result."""
    has_media: bool | None = None
    """Whether an image, audio clip or file is anywhere in the prompt."""


class ScriptedToolCall(_ReplyScriptForm):
    """A call of a tool that the client offered."""

    name: str
    arguments: dict[str, Any] | str = {}
    """The arguments: an object, or text that is sent as it is, even if it is not JSON."""


class ScriptedReply(_ReplyScriptForm):
    """The content of a reply. With tool calls, the finish reason is `tool_calls` by default."""

    text: str | None = None
    reasoning: str | None = None
    tool_calls: list[ScriptedToolCall] = []
    refusal: str | None = None
    finish_reason: Literal["stop", "tool_calls", "length", "content_filter", "error"] | None = None


class ScriptedTurn(_ReplyScriptForm):
    """One turn: its condition and its reply."""

    when: TurnCondition = TurnCondition()
    reply: ScriptedReply
    repeat: bool = False
    """Whether the turn may be used again; otherwise it is used once."""


class ReplyScript(_ReplyScriptForm):
    """Turns in order: the first unused one that matches answers; without one, a composed reply."""

    turns: list[ScriptedTurn] = []


REPLY_SCRIPT: TypeAdapter[ReplyScript] = TypeAdapter(ReplyScript)


@dataclass(slots=True)
class ScriptRunner:
    """A reply script in use."""

    script: ReplyScript = field(default_factory=ReplyScript)
    _used: set[int] = field(default_factory=set[int])

    @property
    def remaining(self) -> int:
        """The number of turns that may still be used; those that repeat always count."""
        return len(self.script.turns) - len(self._used)

    def next_reply(self, request: ParsedRequest, provider: Provider) -> GeneratedReply | None:
        """Return the scripted reply to this request, and use its turn; None if no turn matches."""
        for index, turn in enumerate(self.script.turns):
            if index not in self._used and _matches_request(turn.when, request):
                if not turn.repeat:
                    self._used.add(index)
                return _build_reply(turn.reply, index, request, provider)
        return None


def _matches_request(when: TurnCondition, request: ParsedRequest) -> bool:
    has_media = any(block.media for block in request.blocks)
    return (
        (when.dialect is None or when.dialect == request.dialect)
        and (when.has_media is None or when.has_media == has_media)
        and (when.model is None or any(fnmatchcase(one, when.model) for one in request.models))
        and (when.has_tools is None or when.has_tools == bool(request.tools))
        and (when.tool is None or any(tool.name == when.tool for tool in request.tools))
        and (when.after_tool is None or when.after_tool == request.is_after_tool)
        and (when.contains is None or any(when.contains in one.text for one in request.blocks))
    )


def _build_reply(
    scripted: ScriptedReply, index: int, request: ParsedRequest, provider: Provider
) -> GeneratedReply:
    digest = hashlib.sha256(repr((index, request.turn, scripted)).encode()).hexdigest()
    calls = tuple(
        EmittedToolCall(
            id=f"{provider.tool_prefix}01{digest[place : place + 22]}",
            name=call.name,
            arguments=(
                call.arguments
                if isinstance(call.arguments, str)
                else orjson.dumps(call.arguments).decode()
            ),
        )
        for place, call in enumerate(scripted.tool_calls)
    )
    return GeneratedReply(
        text=scripted.text,
        reasoning=scripted.reasoning,
        signature=digest * 3 if scripted.reasoning is not None else "",
        calls=calls,
        refusal=scripted.refusal,
        finish_reason=scripted.finish_reason or ("tool_calls" if calls else "stop"),
    )
