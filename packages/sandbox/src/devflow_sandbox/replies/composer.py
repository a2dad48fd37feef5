"""Composes replies that look like work: deterministic for a seed, and about the question."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import lru_cache

import orjson

from devflow_sandbox.catalogue.providers import Provider
from devflow_sandbox.parsed_request import ParsedRequest, ToolDefinition
from devflow_sandbox.replies.obedience import obey
from devflow_sandbox.replies.reply import EmittedToolCall, GeneratedReply
from devflow_sandbox.replies.schema_values import generate_value

_FILE = re.compile(
    r"\b[\w./-]+\.(?:py|ts|tsx|js|go|rs|java|rb|md|toml|yaml|yml|json|sql|html|css)\b"
)
_NAME = re.compile(r"`([^`\n]{2,60})`|\b(test_\w+|\w+Error|\w+\(\)|[a-z]+_[a-z_]+)")
_TAG = re.compile(r"<([\w-]+)[^>]*>.*?</\1>", re.DOTALL)
_MAX_SUBJECTS = 4
"""The most names taken from the question; the text mentions the first and the last of them."""

_OPENINGS = (
    "I looked at {subject} first, since that is where “{topic}” begins.",
    "Taking up “{topic}” where it was left: {subject} is the place to start.",
    "Here is where “{topic}” stands, and what I changed around {subject}.",
)
_FINDINGS = (
    "The cause is an assumption about order: {subject} is read before the state it depends on has "
    "been written, so the first call sees the value of the run before.",
    "{subject} handles the common case, but an empty input takes the early return and skips the "
    "clean-up, which is why the symptom shows only on the second run.",
    "Two places decide the same thing: {subject} and its caller each keep a default, and they have "
    "drifted apart.",
)
_STEPS = (
    "Reproduce it with the smallest input and keep that as a test.",
    "Move the decision into one function without side effects.",
    "Read the state once, at the entrance, and pass it on.",
    "Handle the empty case before the loop instead of inside it.",
    "Name the unit in the parameter so that callers cannot mix them up.",
    "Run the whole suite; only the new test should change its result.",
)
_CLOSINGS = (
    "With that, {subject} has one owner and the test above fails without the change.",
    "Next I would look at the callers of {subject}; none of them needs to change for this.",
    "That covers the request; the remaining risk is in {subject}, and the new test watches it.",
)


def compose(request: ParsedRequest, provider: Provider, *, seed: int) -> GeneratedReply:
    """Return a reply to the request, shaped as this provider would shape it.

    It is a tool call if one is required or the question asks for it; otherwise text, or JSON that
    matches the request's schema. It is not cut to a limit.

    Raises:
        ApiError: 400, if a schema of the request is invalid.
    """
    # what clients put in tags is not the question
    question = _TAG.sub(" ", request.question).strip() or request.question
    values = _SeededValues(seed, request.models[0], question, request.turn)
    tools = _choose_tools(request, question)
    if tools:
        return GeneratedReply(
            reasoning=_write_thinking(request, question),
            signature=_sign_reasoning(request, values),
            calls=tuple(
                EmittedToolCall(
                    id=values.make_id(provider.tool_prefix, number),
                    name=tool.name,
                    arguments=orjson.dumps(generate_value(tool.schema, question)).decode(),
                )
                for number, tool in enumerate(tools)
            ),
            finish_reason="tool_calls",
        )
    return GeneratedReply(
        text=_write_text(request, question, seed),
        reasoning=_write_thinking(request, question),
        signature=_sign_reasoning(request, values),
    )


class _SeededValues:
    """Values that depend only on the seed and the request."""

    def __init__(self, *parts: object) -> None:
        self._digest = hashlib.sha256(repr(parts).encode()).digest()

    def make_id(self, prefix: str, number: int) -> str:
        digest = self._digest if number == 0 else hashlib.sha256(self._digest * number).digest()
        return prefix + "01" + base64.b32encode(digest[:14]).decode().rstrip("=")

    def make_signature(self) -> str:
        return base64.b64encode(self._digest * 5).decode()


def _sign_reasoning(request: ParsedRequest, values: _SeededValues) -> str:
    return (
        values.make_signature()
        if request.reasoning is not None and request.reasoning.is_enabled
        else ""
    )


def _write_thinking(request: ParsedRequest, question: str) -> str | None:
    wanted = request.reasoning
    if wanted is None or not wanted.is_enabled or wanted.is_hidden:
        return None
    return (
        f"The request is “{_find_topic(question)}”. "
        f"Let me look at {_find_subjects(question)[0]} first, "
        "then decide whether the change belongs there or in the caller. "
        "The smallest change that a test can hold is best."
    )


def _choose_tools(request: ParsedRequest, question: str) -> list[ToolDefinition]:
    """Choose the required tool, or those that the question asks to use, until a result is there."""
    if not request.tools or request.tool_choice == "none":
        return []
    if request.tool_choice.startswith("="):
        return [tool for tool in request.tools if tool.name == request.tool_choice[1:]][:1]
    if request.tool_choice == "required":
        return [request.tools[0]]
    # after a tool result, the reply is text; otherwise an agent would never end
    last = request.last_block
    if request.is_after_tool or last is None or last.role != "user":
        return []
    return [
        tool
        for tool in request.tools
        if re.search(
            rf"\b(?:use|call)\s+(?:the\s+)?`?{re.escape(tool.name)}`?\s+tool\b", question, re.I
        )
    ]


def _write_text(request: ParsedRequest, question: str, seed: int) -> str:
    if request.schema is not None:
        return orjson.dumps(generate_value(request.schema, question)).decode()
    text = obey(question, request.blocks) or _write_prose(question, seed, request.turn)
    return orjson.dumps({"answer": text}).decode() if request.wants_json else text


@lru_cache(maxsize=512)
def _write_prose(question: str, seed: int, turn: int) -> str:
    digest = hashlib.sha256(repr((seed, question, turn)).encode()).digest()
    subjects = _find_subjects(question)
    first, last = subjects[0], subjects[-1]
    start = digest[3] % len(_STEPS)
    steps = [_STEPS[(start + offset) % len(_STEPS)] for offset in range(3)]
    step_list = "\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1))
    opening = _OPENINGS[digest[0] % len(_OPENINGS)].format(
        subject=first, topic=_find_topic(question)
    )
    finding = _FINDINGS[digest[1] % len(_FINDINGS)].format(subject=last)
    closing = _CLOSINGS[digest[2] % len(_CLOSINGS)].format(subject=first)
    return (
        f"{opening}\n\n{finding}\n\nWhat I did:\n\n{step_list}\n\n{_write_code(first)}\n\n{closing}"
    )


def _find_topic(question: str) -> str:
    line = next((line.strip() for line in question.splitlines() if line.strip()), "the request")
    return line if len(line) <= 90 else line[:87].rstrip() + "…"


def _find_subjects(question: str) -> list[str]:
    """Return the first few files and names in the question, as code."""
    head = question[:20_000]
    names = _FILE.findall(head)
    names += [quoted or plain for quoted, plain in _NAME.findall(head)]
    subjects = list(dict.fromkeys(one.strip("`.") for one in names))[:_MAX_SUBJECTS]
    return [f"`{one}`" for one in subjects] or ["the entry point"]


def _write_code(subject: str) -> str:
    name = re.sub(r"\W+", "_", subject.strip("`").rsplit("/", 1)[-1]).strip("_").lower()
    name = name.removeprefix("test_").removesuffix("_py") or "request"
    return (
        "```python\n"
        f"def test_{name}_is_right_from_the_first_call() -> None:\n"
        f"    first = {name}(state=fresh())\n"
        f"    second = {name}(state=fresh())\n"
        "    assert first == second\n"
        "```"
    )
