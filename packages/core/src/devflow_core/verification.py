"""Defines how an answer is checked before it is given out, for requests that ask for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal

from devflow_core.events import FinishReason
from devflow_core.messages import ToolCall
from devflow_core.routing import CheckStep

VERIFIED_MODE = "auto:verified"
"""The mode of the choice of a model in which answers are checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedAnswer:
    """A whole answer that is to be checked."""

    text: str
    """The text without reasoning."""
    tool_calls: tuple[ToolCall, ...]
    finish_reason: FinishReason
    model: str
    """The model that answered, by the name under which it is requested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The result of one check."""

    is_accepted: bool
    reason: str
    """Why, in words of the check's own: they are recorded, so they quote nothing of the answer."""
    detail: str = field(default="", repr=False)
    """What may quote the answer, such as the output of a command: shown, and never recorded."""
    is_undecided: bool = False
    """Whether the check says nothing of the answer: it failed, or another answer has to agree."""
    agreeing: tuple[int, ...] = ()
    """The indices of the earlier answers that are accepted with this one."""
    wants_best: bool = False
    """Whether only the best model that is left should answer next."""


Hook = Callable[[CheckedAnswer], bool | str | Awaitable[bool | str | None] | None]
"""Decides on an answer: False or a reason refuses it, True or None accepts it.

An exception refuses it as well. One that is not `async` runs in a thread.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The checks of a request's answers; each is made only where it applies.

    An answer is accepted if every check that applies accepts it. If one refuses it or cannot
    decide, the next better model answers; if none is accepted, the last answer is given, and
    `Route.verification` says so. An answer to which no check applies is given as it is.
    """

    schema: bool = True
    """Whether a `response_format` is checked."""
    tools: bool = True
    """Whether calls of tools are checked by the tools' own schemas."""
    code: bool = True
    """Whether fenced code has to parse: Python and JSON; other languages are not judged."""
    agreement: bool = True
    """Whether short final answers that no other check can judge need a second model's agreement."""
    command: tuple[str, ...] = ()
    """A program and its arguments that accepts an answer by ending with 0; none if empty.

    It gets the text on its standard input. `{answer}` and `{code}` among the arguments are replaced
    by files with the text and with its fenced code.
    """
    hook: Hook | None = None
    """A function of the caller's own."""
    timeout_s: float = 60.0
    """Seconds that the command, or the hook, may take."""
    judge: str | None = None
    """A model that is asked whether the answer is right; None: none is."""
    judge_max_usd: Decimal = Decimal("0.05")
    """The most that the judge's calls of one request may cost in the worst case, in USD."""
    on_step: Callable[[CheckStep, str], None] | None = None
    """Called after each check of an answer, with its outcome and the detail for people."""
