"""Defines a clause: one promise that clients rely on, how it is checked, and what was found."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal

from devflow_cli.conformance.probe import Probe
from devflow_cli.conformance.terms import Effort, Group, Outcome

Check = Callable[[Probe], Awaitable[str]]
_ONE_CALL = Effort()


@dataclass(frozen=True, slots=True)
class Clause:
    """One promise to the clients of a dialect, or to all clients."""

    group: Group
    check: Check
    """The check that finds out whether the promise is kept.

    Its name is the clause's, and the first line of its docstring is the promise. It returns what it
    saw, or raises `ClauseBroken`, `ClauseNotShown` or `ClauseSkipped`.
    """
    effort: Effort = _ONE_CALL
    needs: tuple[str, ...] = ()
    """Names of checks of the same group; if one of them failed, this one is skipped."""

    @property
    def name(self) -> str:
        """The name, such as `messages.cache`."""
        return f"{self.group}.{self.check.__name__}"

    @property
    def sentence(self) -> str:
        """The promise, for people."""
        # the docstring, so that promise and check cannot drift apart
        return (self.check.__doc__ or "").strip().partition("\n")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of checking one clause."""

    clause: Clause
    outcome: Outcome
    detail: str
    """What was seen, or what is wrong, what that breaks and what to do."""
    cost_usd: Decimal = Decimal(0)
    """The cost of its replies: as the gateway states it, by the listed price, or the worst case."""
    calls: int = 0
    """The number of requests that a model had to answer."""
    seconds: float = 0.0

    def as_json(self) -> dict[str, object]:
        """Return the finding as `--json` shows it."""
        return {
            "name": self.clause.name,
            "group": self.clause.group,
            "ok": self.outcome != "failed",
            "outcome": self.outcome,
            "detail": self.detail,
            "clause": self.clause.sentence,
            "cost_usd": self.cost_usd,
            "calls": self.calls,
            "seconds": round(self.seconds, 3),
        }
