"""Writes replies that look like work: deterministic for a seed, about what was asked."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import lru_cache

import orjson

from devflow_sandbox.catalogue.providers import Provider
from devflow_sandbox.parsed_request import Ask, Tool
from devflow_sandbox.replies.reply import Call, Reply
from devflow_sandbox.replies.schema import fitting

_FILE = re.compile(
    r"\b[\w./-]+\.(?:py|ts|tsx|js|go|rs|java|rb|md|toml|yaml|yml|json|sql|html|css)\b"
)
_NAME = re.compile(r"`([^`\n]{2,60})`|\b(test_\w+|\w+Error|\w+\(\)|[a-z]+_[a-z_]+)")
_TAGGED = re.compile(r"<([\w-]+)[^>]*>.*?</\1>", re.DOTALL)
_EXACTLY = re.compile(
    r"\b(?:reply|respond|answer|say)\b(?: with)?(?: exactly| only| just){1,2}:?\s+"
    r"[\"'`]?(.+?)[\"'`]?[.]?\s*$",
    re.IGNORECASE,
)
_SUBJECTS = 4

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


def compose(ask: Ask, provider: Provider, *, seed: int) -> Reply:
    """A reply to what is asked, as this provider would shape it."""
    question = _TAGGED.sub(" ", ask.question).strip() or ask.question
    draw = _Draw(seed, ask.models[0], question, ask.turn)
    tool = _called(ask, question)
    if tool is not None:
        arguments = orjson.dumps(fitting(tool.schema, question)).decode()
        return Reply(
            reasoning=_thinking(ask, question),
            signature=_signature(ask, draw),
            calls=(Call(id=draw.id(provider.tool_prefix), name=tool.name, arguments=arguments),),
            finish="tool_calls",
        )
    return Reply(
        text=_text(ask, question, seed),
        reasoning=_thinking(ask, question),
        signature=_signature(ask, draw),
    )


class _Draw:
    """Numbers that depend on the seed and on what was asked, and on nothing else."""

    def __init__(self, *parts: object) -> None:
        self._digest = hashlib.sha256(repr(parts).encode()).digest()

    def id(self, prefix: str) -> str:
        return prefix + "01" + base64.b32encode(self._digest[:14]).decode().rstrip("=")

    def signature(self) -> str:
        return base64.b64encode(self._digest * 5).decode()


def _signature(ask: Ask, draw: _Draw) -> str:
    return draw.signature() if ask.reasoning is not None and ask.reasoning.is_on else ""


def _thinking(ask: Ask, question: str) -> str | None:
    wanted = ask.reasoning
    if wanted is None or not wanted.is_on or wanted.is_hidden:
        return None
    return (
        f"The request is “{_topic(question)}”. Let me look at {_subjects(question)[0]} first, then "
        "decide whether the change belongs there or in the caller. The smallest change that a test "
        "can hold is best."
    )


def _called(ask: Ask, question: str) -> Tool | None:
    """The tool to call: the one demanded, or named in so many words and not yet answered."""
    if not ask.tools or ask.tool_choice == "none":
        return None
    if ask.tool_choice.startswith("="):
        return next(tool for tool in ask.tools if tool.name == ask.tool_choice[1:])
    if ask.tool_choice == "required":
        return ask.tools[0]
    if ask.last is None or ask.last.role != "user":
        return None
    for tool in ask.tools:
        if re.search(
            rf"\b(?:use|call)\s+(?:the\s+)?`?{re.escape(tool.name)}`?\s+tool\b", question, re.I
        ):
            return tool
    return None


def _text(ask: Ask, question: str, seed: int) -> str:
    if ask.schema is not None:
        return orjson.dumps(fitting(ask.schema, question)).decode()
    if ask.wants_json:
        return orjson.dumps({"answer": _prose(question, seed, ask.turn)}).decode()
    return _prose(question, seed, ask.turn)


@lru_cache(maxsize=512)
def _prose(question: str, seed: int, turn: int) -> str:
    exactly = _EXACTLY.search(question[-400:])
    if exactly is not None:
        return exactly.group(1)
    draw = hashlib.sha256(repr((seed, question, turn)).encode()).digest()
    subjects = _subjects(question)
    first, other = subjects[0], subjects[-1]
    start = draw[3] % len(_STEPS)
    steps = [_STEPS[(start + offset) % len(_STEPS)] for offset in range(3)]
    listed = "\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1))
    opening = _OPENINGS[draw[0] % len(_OPENINGS)].format(subject=first, topic=_topic(question))
    finding = _FINDINGS[draw[1] % len(_FINDINGS)].format(subject=other)
    closing = _CLOSINGS[draw[2] % len(_CLOSINGS)].format(subject=first)
    return f"{opening}\n\n{finding}\n\nWhat I did:\n\n{listed}\n\n{_code(first)}\n\n{closing}"


def _topic(question: str) -> str:
    line = next((line.strip() for line in question.splitlines() if line.strip()), "the request")
    return line if len(line) <= 90 else line[:87].rstrip() + "…"


def _subjects(question: str) -> list[str]:
    """Files and names that were mentioned, the first few, as code."""
    head = question[:20_000]
    found = _FILE.findall(head)
    found += [quoted or plain for quoted, plain in _NAME.findall(head)]
    kept = list(dict.fromkeys(one.strip("`.") for one in found))[:_SUBJECTS]
    return [f"`{one}`" for one in kept] or ["the entry point"]


def _code(subject: str) -> str:
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
