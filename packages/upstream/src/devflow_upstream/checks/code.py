"""Checks that the code of an answer parses, and finds the code for other checks."""

from __future__ import annotations

import ast
import asyncio
import re
import warnings
from collections.abc import Iterator
from textwrap import dedent

import orjson
from devflow_core.ports import Panel
from devflow_core.request import ChatRequest
from devflow_core.verification import CheckedAnswer, Verdict

MAX_CODE_CHARS = 50_000
"""Longer code is not judged: parsing it would hold up other requests."""
_FENCE = re.compile(r"^ {0,3}```[ \t]*([\w+-]*)[^\n]*\n(.*?)(?:^ {0,3}```[ \t]*$|\Z)", re.M | re.S)
_LANGUAGES = {"python": "python", "py": "python", "python3": "python", "json": "json"}
_NOT_PLAIN = re.compile(r"^\s*(?:>>>|[%!$]|//|\.\.\.\s*$|#\s*\.\.\.)", re.MULTILINE)
"""Lines of a session, of a notebook or a shell, and those that stand for what is left out."""


class CodeCheck:
    """Accepts fenced code that parses, in the languages that can be parsed here."""

    name = "code"

    async def judge(
        self, _request: ChatRequest, answer: CheckedAnswer, _panel: Panel, /
    ) -> Verdict | None:
        judged = [(language, text) for language, text in find_code(answer.text) if _may_judge(text)]
        verdict: Verdict | None = None
        for language, text in judged:
            kind = _LANGUAGES.get(language.lower())
            if kind is None:
                continue
            problem = await asyncio.to_thread(_find_problem, kind, text)
            if problem is not None:
                reason = f"{kind} that does not parse"
                return Verdict(is_accepted=False, reason=reason, detail=problem)
            verdict = Verdict(is_accepted=True, reason=f"{kind} that parses")
        return verdict


def find_code(text: str) -> Iterator[tuple[str, str]]:
    """Yield the fenced blocks of a text, each with its language; "" if it names none."""
    for found in _FENCE.finditer(text):
        yield found[1], found[2]


def _may_judge(code: str) -> bool:
    return len(code) <= MAX_CODE_CHARS and not _NOT_PLAIN.search(code)


def _find_problem(kind: str, code: str) -> str | None:
    """Return why the code does not parse; None if it does, or if it is too deep to tell."""
    try:
        if kind == "json":
            orjson.loads(code)
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of strange escapes, which are no error
            ast.parse(dedent(code), filename="answer")
    except (SyntaxError, ValueError) as error:  # orjson's error is a ValueError
        return str(error)
    except (MemoryError, RecursionError):
        return None
    return None
