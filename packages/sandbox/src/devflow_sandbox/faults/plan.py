"""Loads the fault plan: every known way in which OpenRouter fails, as named cases to play.

A case describes the fault, in the terms of fault scripts, and how any good client of OpenRouter
handles it. The cases are data in `plan.json`; their ids begin with their row of the plan
(`U12-seconds`).
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
    """The outcome of a good client of OpenRouter if every request gets the fault."""

    outcome: Outcome
    """`success`: the whole reply. `failed`: an error, no part of a reply. `cut`: part of a stream
    may have been passed on, followed by an error; a reply that is not streamed is an error. `left`:
    the client disconnected, and what matters is what it then owes. An incomplete reply must never
    look complete.
    """
    status: tuple[int, ...] = ()
    """The HTTP statuses that report the failure correctly to the users of the client."""
    attempts: Annotated[int, Field(ge=1)] = 1
    """The most calls allowed for one request."""
    fallback: bool | None = None
    """Whether another model should be tried before giving up; None: either is right."""
    billed: Literal["reply", "nothing", "unknown"] = "nothing"
    """The part of a call that OpenRouter charges.

    It is the reply, or as much as arrived; nothing, visibly to the client; or unknown to the
    client, which therefore must not assume zero.

    An error of OpenRouter's own is an answer: no reply was made and none is charged ("zero
    completion insurance"), even if it is a timeout. A bare page of a gateway that timed out says
    nothing about what continues behind it. A redirect says that the request belongs elsewhere and
    was not carried out, except 303, which points to the outcome of one that was.
    """

    def describe(self) -> str:
        """Describe the outcome briefly, like `an error, 429, at most 3 calls, not billed`."""
        words = [_WORDS[self.outcome], " or ".join(str(one) for one in self.status)]
        words.append(f"at most {self.attempts} call{'s' if self.attempts > 1 else ''}")
        if self.fallback and self.outcome != "success":
            words.append("another model may answer")
        words.append({"reply": "billed", "nothing": "not billed"}.get(self.billed, "maybe billed"))
        return ", ".join(word for word in words if word)


class FaultCase(_PlanForm):
    """One case: all requests for replies get the same fault."""

    id: Annotated[str, Field(pattern=r"^U[0-9]{2}-[a-z0-9]+(-[a-z0-9]+)*$")]
    description: str
    """The fault in one line."""
    faults: tuple[Fault, ...] = ()
    """The rules of the fault script."""
    turns: tuple[ScriptedTurn, ...] = ()
    """The replies, if the fault needs a certain kind of reply."""
    address: Address = "open"
    """The address given to the client, for faults before HTTP."""
    dialects: tuple[DialectName, ...] = ALL_DIALECTS
    """The dialects in which the fault can happen."""
    warm_up: int = 0
    """The number of requests that succeed first, on the connection that the case then uses."""
    is_heavy: bool = False
    """Whether megabytes are sent."""
    expect: ExpectedOutcome

    @property
    def row(self) -> str:
        """The row of the plan: the first three characters of the id."""
        return self.id[:3]

    @property
    def client_leaves(self) -> bool:
        """Whether the client disconnects before the reply has ended."""
        return self.expect.outcome == "left"

    def fault_script(self) -> FaultScript:
        """Return the case as a fault script; the bill shows the case's id."""
        return FaultScript(
            faults=[fault.model_copy(update={"id": self.id}) for fault in self.faults]
        )

    def reply_script(self) -> ReplyScript:
        """Return the case's replies as a script of turns; without any, replies are composed."""
        return ReplyScript(turns=list(self.turns))

    def as_json(self) -> JsonObject:
        """Return the case as JSON values, without fields at their defaults."""
        return self.model_dump(mode="json", exclude_defaults=True)


_PLAN: TypeAdapter[tuple[FaultCase, ...]] = TypeAdapter(tuple[FaultCase, ...])


@cache
def load_plan() -> tuple[FaultCase, ...]:
    """Return all cases, in the order of the rows; the file is read once in a process."""
    return _PLAN.validate_json(PLAN_FILE.read_bytes())


def find_case(name: str) -> FaultCase:
    """Return the case with this id.

    Raises:
        ConfigurationError: it does not exist; the message lists the cases of the same row.
    """
    cases = load_plan()
    for case in cases:
        if case.id == name:
            return case
    near = ", ".join(case.id for case in cases if case.row == name[:3])
    hint = f"This row has {near}." if near else "`devflow sandbox --list-faults` has them all."
    raise ConfigurationError(f"The fault plan has no case {name!r}. {hint}")
