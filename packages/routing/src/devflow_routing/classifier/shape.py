"""Reads from the shape of a request what makes it harder than its words say.

A coding agent's turn is a short ask behind a long system prompt, a dozen tools and a conversation:
what a small model fails at is the tools and the length, not the words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from devflow_core.messages import Media, Message, Text, ToolResult
from devflow_core.request import ChatRequest, Tool

_CODING_TOOLS = frozenset(
    {
        "applydiff",
        "applypatch",
        "bash",
        "edit",
        "editfile",
        "exec",
        "execcommand",
        "glob",
        "grep",
        "localshell",
        "ls",
        "multiedit",
        "notebookedit",
        "patch",
        "powershell",
        "read",
        "readfile",
        "replace",
        "replaceinfile",
        "runcommand",
        "runshellcommand",
        "runterminalcommand",
        "searchfiles",
        "shell",
        "strreplacebasededittool",
        "strreplaceeditor",
        "terminal",
        "texteditor",
        "write",
        "writefile",
        "writetofile",
    }
)
"""Tools that only coding agents have, without case, `_` and `-`."""
_MIN_CODING_TOOLS = 2
_MAX_READ_MESSAGES = 400
"""The latest messages that are looked at; a session of more is as long as one can be."""
_LONG_CHARS = 24_000
"""A conversation of about 6,000 tokens, from which its length adds to the difficulty."""
_MAX_LENGTH_STEPS = 5
_LONG_SYSTEM_CHARS = 4_000
_MANY_TOOLS = 4
_STRONG_MODEL = re.compile(
    r"opus|fable|[-/]pro\b|-max\b|thinking|\bo[134](?!-mini)\b|codex(?!-mini)"
)
_SMALL_MODEL = re.compile(r"haiku|mini\b|nano|flash|lite\b|small|tiny|[-:]\d{1,2}b\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestShape:
    """What a request is like, without any of its words; equal shapes are classified alike."""

    tools: int = 0
    """The tools that it offers, at most 24."""
    has_coding_tools: bool = False
    has_long_system: bool = False
    length_steps: int = 0
    """How often the conversation's length has doubled beyond the usual, 0 to 5."""
    turns: int = 0
    """The human's turns, at most 9."""
    tool_results: int = 0
    """The results of tools, at most 9."""
    media: int = 0
    """Images, files, sound and video, at most 9."""
    rank: int = 0
    """1 if a strong model was named, or is what the client expects; -1 for a small one; else 0."""

    @property
    def logits(self) -> float:
        """How much harder the shape makes the request, in logits of failure.

        The weights are judgements, set so that written requests fall into the band in which an
        expert would put them; nothing was fitted.
        """
        if not self.tools:
            value = 0.15 * self.length_steps
        elif self.has_coding_tools:
            value = 0.9 + 0.1 * min(self.tools, 12) / 3 + 0.2 * self.length_steps
            value += 0.4 * self.has_long_system + 0.1 * min(self.tool_results, 4)
        else:
            value = 0.3 * (self.tools > 1) + 0.3 * (self.tools >= _MANY_TOOLS)
            value += 0.2 * self.length_steps + 0.1 * min(self.tool_results, 4)
        return value + 0.05 * min(self.turns, 6) + 0.25 * min(self.media, 3) + 0.4 * self.rank

    def describe(self) -> str:
        """Return what makes it harder, in words and numbers; empty for a plain question."""
        found = [
            f"{self.tools} tools" if self.tools > 1 else "a tool" if self.tools else "",
            "a long system prompt" if self.has_long_system else "",
            "a long conversation" if self.length_steps else "",
            "results of tools" if self.tool_results else "",
            "media" if self.media else "",
            {1: "a strong model was expected", -1: "a small model was expected"}.get(self.rank, ""),
        ]
        return ", ".join(one for one in found if one)


def read_shape(request: ChatRequest) -> RequestShape:
    """Return the shape of a request, in a pass over its parts that reads no text."""
    chars = system = turns = results = media = 0
    for message in request.messages[-_MAX_READ_MESSAGES:]:
        length, found_results, found_media = _measure(message)
        chars += length
        results += found_results
        media += found_media
        turns += message.role == "user" and not found_results
    for message in request.messages[:2]:
        if message.role == "system":
            system += _measure(message)[0]
    return RequestShape(
        tools=min(len(request.tools), 24),
        has_coding_tools=bool(request.tools) and _has_coding_tools(request.tools),
        has_long_system=system >= _LONG_SYSTEM_CHARS,
        length_steps=min((chars // _LONG_CHARS).bit_length(), _MAX_LENGTH_STEPS),
        turns=min(turns, 9),
        tool_results=min(results, 9),
        media=min(media, 9),
        rank=_rank_of(request),
    )


def _has_coding_tools(tools: Sequence[Tool]) -> bool:
    names = {tool.name.replace("_", "").replace("-", "").lower() for tool in tools}
    return len(names & _CODING_TOOLS) >= _MIN_CODING_TOOLS


def _measure(message: Message) -> tuple[int, int, int]:
    """Return a message's characters, its results of tools, and its media."""
    chars = results = media = 0
    for part in message.parts:
        if isinstance(part, Text):
            chars += len(part.text)
        elif isinstance(part, ToolResult):
            results += 1
            for inner in part.parts:
                if isinstance(inner, Text):
                    chars += len(inner.text)
                media += isinstance(inner, Media)
        else:
            media += isinstance(part, Media)
    return chars, results, media


def _rank_of(request: ChatRequest) -> int:
    """Return 1 if the client named a strong model, -1 for a small one, else 0."""
    if request.model.startswith("auto"):
        return 0
    name = request.model.lower()
    if _SMALL_MODEL.search(name):
        return -1
    return 1 if _STRONG_MODEL.search(name) else 0
