"""Compares the short final answers of several models: numbers, names, results of a calculation."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

from devflow_core.ports import Panel
from devflow_core.request import ChatRequest
from devflow_core.verification import CheckedAnswer, Verdict

MAX_FINAL_CHARS = 60
"""A longer final answer is prose, which two models never write alike."""
MAX_FINAL_WORDS = 5
"""A single line of more words is a sentence."""
_MAX_READ_CHARS = 2_000
"""The final answer stands at the end, so only this much of it is read."""
_STATED = re.compile(
    r"(?:\\boxed\{([^{}]*)\}|####[ \t]*([^\n]+)"
    r"|\b(?:final answer|answer|result|total|solution)\b[ \t*_`]*(?:is|=|:)[ \t*_`]*([^\n]+))",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?")
_ONE_OF_FEW = re.compile(r"\(?[a-j]\)?|yes|no|true|false", re.IGNORECASE)
"""What is chosen from few possibilities: models agree on wrong ones too often."""


class AgreementCheck:
    """Accepts a short final answer that another model has given as well."""

    name = "agreement"

    async def judge(
        self, _request: ChatRequest, answer: CheckedAnswer, panel: Panel, /
    ) -> Verdict | None:
        final = find_final(answer)
        if final is None:
            return None
        earlier = [find_final(one) for one in panel.earlier]
        agreeing = tuple(place for place, one in enumerate(earlier) if one == final)
        if agreeing:
            return Verdict(is_accepted=True, reason="another model agrees", agreeing=agreeing)
        if not any(earlier) and not panel.can_go_on:
            return None
        reason = "no other model agrees" if any(earlier) else "a second model has to agree"
        # after two that differ the best one decides, not a third of the cheap ones
        return Verdict(is_accepted=False, is_undecided=True, reason=reason, wants_best=any(earlier))


def find_final(answer: CheckedAnswer) -> str | None:
    """Return the final answer in a form that can be compared; None if it cannot be.

    An answer that is stated (`answer: 42`) comes first, then a short text as a whole, then the only
    number of the last line.
    """
    text = answer.text.strip()
    if answer.tool_calls or "```" in text or not text:
        return None
    stated = list(_STATED.finditer(text[-_MAX_READ_CHARS:]))
    if stated:
        return _normalise(next(one for one in stated[-1].groups() if one is not None))
    if "\n" in text or text.endswith(("!", "?")) or len(text.split()) > MAX_FINAL_WORDS:
        return _last_number(text)
    return _normalise(text)


def _last_number(text: str) -> str | None:
    """Return the number in the last line of a text; None if it has several, none, or is long."""
    last = re.sub(r"^\s*(?:\d+[.)]|[-*#]+)\s+", "", text.rsplit("\n", 1)[-1])
    numbers = _NUMBER.findall(last)
    if len(numbers) != 1 or len(last) > 4 * MAX_FINAL_CHARS:
        return None
    return _normalise(numbers[0])


def _normalise(text: str) -> str | None:
    text = re.sub(r"\\(?:text|mathrm)\b|[$*_`{}\\]|\s+", " ", text).strip().rstrip(".;").lower()
    text = " ".join(text.split())
    if not text or len(text) > MAX_FINAL_CHARS or _ONE_OF_FEW.fullmatch(text):
        return None
    numbers = _NUMBER.findall(text)
    if len(numbers) == 1:
        try:
            return format(Decimal(numbers[0].replace(",", "")).normalize(), "f")
        except InvalidOperation:
            return text
    return text
