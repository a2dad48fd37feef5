"""The fault plan: every way in which OpenRouter is known to fail, as named cases to be played.

A case says what goes wrong, in the words of the fault script, and what any good client of
OpenRouter then ends with. The cases are the data in `plan.json`; their ids begin with the row of
the plan that they belong to (`U12-seconds`).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from devflow_core.errors import ConfigurationError
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from devflow_sandbox.api_error import DialectName
from devflow_sandbox.faults.addresses import Address
from devflow_sandbox.faults.schema import Fault, FaultScript
from devflow_sandbox.message import JsonObject
from devflow_sandbox.replies.script import ReplyScript, ScriptedTurn

PLAN_FILE = Path(__file__).with_name("plan.json")
ROWS = tuple(f"U{number:02}" for number in range(1, 23))
"""The rows of the plan; each has at least one case."""
ALL_DIALECTS: tuple[DialectName, ...] = ("chat", "messages", "responses")

Outcome = Literal["success", "failed", "cut", "left"]

_WORDS: dict[Outcome, str] = {
    "success": "the whole reply",
    "failed": "an error",
    "cut": "an error, maybe after a part of the reply",
    "left": "the client has left",
}


class _PlanForm(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ExpectedOutcome(_PlanForm):
    """What a good client of OpenRouter ends with, when every request meets the fault."""

    outcome: Outcome
    """`success`: the whole reply. `failed`: an error and nothing of a reply. `cut`: of a stream a
    part may have been handed on, and then an error follows; a reply that is not streamed is an
    error. `left`: the client has gone, and what counts is what it then owes. In no case may a reply
    look complete that is not."""
    status: tuple[int, ...] = ()
    """The HTTP statuses that tell the failure truly, to whoever stands behind the client."""
    attempts: Annotated[int, Field(ge=1)] = 1
    """At most so many calls for one request."""
    fallback: bool | None = None
    """Whether another model should be asked before anything is given up; None: either is right."""
    billed: Literal["reply", "nothing", "unknown"] = "nothing"
    """What OpenRouter charges for a call: the reply, or so far as it came; nothing, and the client
    sees it; or the client cannot know it from what it was sent, so it must not count on nothing."""

    def describe(self) -> str:
        """The outcome in a few words, like `failed, 429, at most 3 calls, billed nothing`."""
        words = [_WORDS[self.outcome], " or ".join(str(one) for one in self.status)]
        words.append(f"at most {self.attempts} call{'s' if self.attempts > 1 else ''}")
        if self.fallback and self.outcome != "success":
            words.append("another model may answer")
        words.append({"reply": "billed", "nothing": "not billed"}.get(self.billed, "maybe billed"))
        return ", ".join(word for word in words if word)


class FaultCase(_PlanForm):
    """One case: all requests for replies meet the same fault."""

    id: Annotated[str, Field(pattern=r"^U[0-9]{2}-[a-z0-9]+(-[a-z0-9]+)*$")]
    description: str
    """What goes wrong, in one line."""
    faults: tuple[Fault, ...] = ()
    """The rules of the fault script."""
    turns: tuple[ScriptedTurn, ...] = ()
    """What is replied, where the fault needs a reply of a certain kind."""
    address: Address = "open"
    """Faults in front of HTTP are an address that the client is given."""
    dialects: tuple[DialectName, ...] = ALL_DIALECTS
    """In which of them it can happen."""
    warm_up: int = 0
    """So many requests go well first, on the connection that the case then meets."""
    is_heavy: bool = False
    """Megabytes are sent."""
    expect: ExpectedOutcome

    @property
    def row(self) -> str:
        """The row of the plan: the first three letters of the id."""
        return self.id[:3]

    @property
    def client_leaves(self) -> bool:
        """Whether the client hangs up before the reply has ended."""
        return self.expect.outcome == "left"

    def fault_script(self) -> FaultScript:
        """The case as a fault script; the bill names the case."""
        return FaultScript(
            faults=[fault.model_copy(update={"id": self.id}) for fault in self.faults]
        )

    def reply_script(self) -> ReplyScript:
        """The case's replies as a script of turns."""
        return ReplyScript(turns=list(self.turns))

    def as_json(self) -> JsonObject:
        """The case without what is left at its default."""
        return self.model_dump(mode="json", exclude_defaults=True)


_PLAN: TypeAdapter[tuple[FaultCase, ...]] = TypeAdapter(tuple[FaultCase, ...])


@cache
def load_plan() -> tuple[FaultCase, ...]:
    """All cases, in the order of the rows."""
    return _PLAN.validate_json(PLAN_FILE.read_bytes())


def find_case(name: str) -> FaultCase:
    """The case with this id.

    Raises:
        ConfigurationError: there is none; the message has those of the same row.
    """
    cases = load_plan()
    for case in cases:
        if case.id == name:
            return case
    near = ", ".join(case.id for case in cases if case.row == name[:3])
    hint = f"This row has {near}." if near else "`devflow sandbox --list-faults` has them all."
    raise ConfigurationError(f"The fault plan has no case {name!r}. {hint}")
