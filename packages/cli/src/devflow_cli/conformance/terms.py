"""Defines what all checks share: groups, outcomes, the errors that a check raises, and effort."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Group = Literal["gateway", "messages", "responses", "chat"]
Outcome = Literal["ok", "failed", "not_shown", "skipped"]
"""`not_shown`: the reply proves nothing, as the model may be at fault; `skipped`: not checked."""

MAX_OUTPUT_TOKENS = 768
"""The tokens that a reply may have unless a clause says otherwise; enough for reasoning models."""
MAX_INPUT_TOKENS = 1500
"""Tokens of the longest ordinary question, tools and picture included."""


class ClauseBroken(Exception):
    """The gateway breaks a promise; the message says what was seen and what that breaks."""


class ClauseNotShown(Exception):
    """The reply proves nothing about the promise; the message says why, and how to find out."""


class ClauseSkipped(Exception):
    """The clause cannot be checked here; the message says why."""


def require(condition: object, message: str) -> None:
    """Raise `ClauseBroken` with the message unless the condition holds."""
    if not condition:
        raise ClauseBroken(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """The most that a check may ask of a model."""

    calls: int = 1
    """Requests that a model answers; 0: none is asked, and nothing is billed."""
    input_tokens: int = MAX_INPUT_TOKENS
    """The tokens of each request."""
    output_tokens: int = MAX_OUTPUT_TOKENS
    """The tokens of each reply."""
