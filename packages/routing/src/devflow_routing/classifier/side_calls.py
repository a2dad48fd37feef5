"""Recognizes the calls that a harness makes for itself: titles, summaries, suggestions, probes.

No human waits for their wording, and any model can answer most of them. They are told by how they
ask, not by who asks: clients change their wordings, and new ones come. The wordings of Claude Code,
Codex, opencode, Qwen Code, aider and of two chat front ends were looked at.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from devflow_core.messages import Text
from devflow_core.request import ChatRequest

_MAX_PROBE_TOKENS = 1
"""The longest reply that a probe of a quota, or a test of a key, asks for."""
_MAX_PROBE_CHARS = 40
"""The longest latest message of a probe."""
_MAX_SYSTEM_CHARS = 6_000
"""The longest system prompt of a side call; those of assistants are longer, and are not read."""
_READ_CHARS = 1_200
"""The part of a text that is searched; what a side call is for stands near its beginning."""
_TELLING = ("title", "tags", "summar", "suggest", "compaction", "policy_spec")
"""Words, one of which every latest message of a side call has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SideCall:
    """A call that a harness makes for itself."""

    purpose: str
    """What it is for, in words for people."""
    difficulty: float
    """The chance that a small model fails, 0..1."""


_PROBE = SideCall(purpose="a probe of a key or a quota", difficulty=0.02)
_WARM_UP = SideCall(purpose="a warm-up of the prompt cache", difficulty=0.02)
_TITLE = SideCall(purpose="a title or a topic of a conversation", difficulty=0.06)
_SUGGESTION = SideCall(purpose="suggestions of what to ask next", difficulty=0.12)
_COMMAND_CHECK = SideCall(purpose="a check of a command", difficulty=0.15)
_COMMIT = SideCall(purpose="the message of a commit", difficulty=0.18)
# the session goes on from it, so that a gap in it costs more than a poor title
_SUMMARY = SideCall(purpose="a summary of a conversation", difficulty=0.3)

_TALK = (
    r"(?:conversation|chat|session|thread|dialogue|exchange|user'?s? (?:prompt|message|request))"
)
_SYSTEM_SIGNS: tuple[tuple[re.Pattern[str], SideCall], ...] = (
    (
        re.compile(
            r"\btitle generator\b|\bnew (?:conversation )?topic\b|\bthread title\b"
            r"|\b(?:generat|writ|creat|extract|output|produc|giv)\w*\b[^.\n]{0,60}\btitles?\b"
            rf"[^.\n]{{0,80}}\b{_TALK}|\b{_TALK}s?\b[^.\n]{{0,40}}\b(?:title|headline)\b"
            rf"|\bsummari[sz]e this (?:coding )?{_TALK} in (?:under|at most|no more than)\b",
            re.IGNORECASE,
        ),
        _TITLE,
    ),
    (
        re.compile(
            rf"\bsummari[sz](?:e|ing|er)s?\b[^.\n]{{0,40}}\b{_TALK}s?\b"
            rf"|\bcontext (?:summari[sz]ation|compaction|compression)\b"
            rf"|\b{_TALK} (?:summari[sz]er|compact(?:or|ion))\b",
            re.IGNORECASE,
        ),
        _SUMMARY,
    ),
    (re.compile(r"\bcommit messages?\b", re.IGNORECASE), _COMMIT),
    (
        re.compile(
            r"\bcommand prefix|<policy_spec>|\bpolicy spec\b"
            r"|\bfile paths? that (?:this|the) command\b",
            re.IGNORECASE,
        ),
        _COMMAND_CHECK,
    ),
)
"""What the beginning of a side call's system prompt says, if the request has no tools."""
_PROMPT_SIGNS: tuple[tuple[re.Pattern[str], SideCall], ...] = (
    (
        re.compile(
            r"\W{0,8}(?:task:?\s+)?(?:please )?(?:write|generate|create|provide|give|suggest)\b"
            rf"[^.\n]{{0,60}}\b(?:title|tags|topic)\b[^.\n]{{0,40}}\b(?:the|this|following|our)\b"
            rf"[^.\n]{{0,16}}\b{_TALK}",
            re.IGNORECASE,
        ),
        _TITLE,
    ),
    (re.compile(r"\[suggestion mode\b", re.IGNORECASE), _SUGGESTION),
    (
        re.compile(
            r"\W{0,8}(?:task:?\s+)?suggest [^.\n]{0,40}\bfollow[- ]?up (?:questions|prompts)\b"
            rf"[^\n]{{0,160}}\b{_TALK}",
            re.IGNORECASE,
        ),
        _SUGGESTION,
    ),
    (
        re.compile(
            r"(?:(?s:critical: respond with text only\b.*?))?(?:your task is to create a detailed"
            rf" summary of\b[^.]{{0,60}}\b{_TALK}"
            r"|you are performing a context checkpoint compaction"
            rf"|\*?briefly\*? summari[sz]e this partial {_TALK}"
            rf"|summari[sz]e what was done in this {_TALK}"
            r"|create a new anchored summary\b|update the (?:prior|anchored|previous) summary\b)",
            re.IGNORECASE,
        ),
        _SUMMARY,
    ),
    (re.compile(r"<policy_spec>", re.IGNORECASE), _COMMAND_CHECK),
)
"""How the latest message of a side call begins."""


def find_side_call(request: ChatRequest) -> SideCall | None:
    """Return what a harness wants for itself with this request; None if it is a human's."""
    text = _latest_text(request)
    if request.max_output_tokens is not None and request.max_output_tokens <= _MAX_PROBE_TOKENS:
        return _PROBE if len(text) <= _MAX_PROBE_CHARS else None
    if text == "Warmup":
        return _WARM_UP
    found = _read_prompt(text)
    if found is not None or request.tools:
        return found
    system = _system_text(request)
    return _read_system(system) if system else None


def _latest_text(request: ChatRequest) -> str:
    """Return how the last text of the latest message begins; empty if it is not the user's."""
    if not request.messages or request.messages[-1].role != "user":
        return ""
    parts = request.messages[-1].parts
    last = parts[-1] if parts else None
    return last.text[:_READ_CHARS].strip() if isinstance(last, Text) else ""


def _system_text(request: ChatRequest) -> str:
    """Return the beginning of each part of the system prompt; empty if it is a long one."""
    parts = [
        part.text
        for message in request.messages[:2]
        if message.role == "system"
        for part in message.parts
        if isinstance(part, Text)
    ]
    if sum(map(len, parts)) > _MAX_SYSTEM_CHARS:
        return ""
    return "\n".join(text[:_READ_CHARS] for text in parts)


@lru_cache(maxsize=64)
def _read_system(text: str) -> SideCall | None:
    return next((call for sign, call in _SYSTEM_SIGNS if sign.search(text)), None)


def _read_prompt(text: str) -> SideCall | None:
    lowered = text.lower()
    if not any(word in lowered for word in _TELLING):
        return None
    return next((call for sign, call in _PROMPT_SIGNS if sign.match(text)), None)
