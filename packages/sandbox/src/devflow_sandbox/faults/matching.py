"""Decides which fault applies to which request, by counters, patterns and seeded draws."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from devflow_sandbox.books.accounts import Key
from devflow_sandbox.faults.schema import Fault, FaultCondition, FaultScript
from devflow_sandbox.message import SandboxRequest

_API = "/api/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTarget:
    """The target that a rule is matched against: a request, and all that is known about it."""

    request: SandboxRequest
    key: Key | None = None
    """The key; None: unknown, so that a rule for a key does not match."""
    stream: bool | None = None
    """Whether the reply is streamed; None if it is not a reply."""
    models: tuple[str, ...] = ()
    """All names the model may be matched by."""
    providers: tuple[str, ...] = ()
    """All names the provider may be matched by."""


@dataclass(slots=True)
class FaultRules:
    """A fault script in use, with counts of how often each rule matched and was applied."""

    script: FaultScript = field(default_factory=FaultScript)
    seed: int = 0
    _match_counts: dict[int, int] = field(default_factory=dict[int, int])
    _applied_counts: dict[int, int] = field(default_factory=dict[int, int])

    def make_matcher(self) -> FaultMatcher:
        """Return a matcher for one request, to be used for all its attempts."""
        return FaultMatcher(self)

    def rule_name(self, index: int) -> str:
        """Return the name of a rule as shown in the bill."""
        return self.script.faults[index].id or f"fault {index + 1}"

    def count_and_decide(self, index: int) -> bool:
        """Count a request that matches the rule, and return whether the fault applies to it."""
        when = self.script.faults[index].when
        number = self._match_counts[index] = self._match_counts.get(index, 0) + 1
        applied = self._applied_counts.get(index, 0)
        is_due = (
            _is_scheduled(when, number)
            and (when.times is None or applied < when.times)
            and self._draw(index, number) < when.probability
        )
        if is_due:
            self._applied_counts[index] = applied + 1
        return is_due

    def _draw(self, index: int, number: int) -> float:
        # a hash of its inputs, so that the same seed fails the same requests on every machine
        digest = hashlib.blake2b(repr((self.seed, index, number)).encode(), digest_size=8)
        return int.from_bytes(digest.digest()) / 2**64


@dataclass(slots=True)
class FaultMatcher:
    """Matches the rules against one request; each counts once, however many providers are tried."""

    rules: FaultRules
    _decided: dict[int, bool] = field(default_factory=dict[int, bool])

    def match(self, target: RequestTarget) -> tuple[Fault, str] | None:
        """Return the first fault that applies, with the name of its rule; None if none does.

        Every rule that matches counts the request.
        """
        matched: tuple[Fault, str] | None = None
        for index, fault in enumerate(self.rules.script.faults):
            if not _matches_request(fault.when, target):
                continue
            if index not in self._decided:
                # decided once per request, so that a fallback to another provider does not count
                # again
                self._decided[index] = self.rules.count_and_decide(index)
            # the loop goes on, since later rules count this request too
            if self._decided[index] and matched is None:
                matched = fault, self.rules.rule_name(index)
        return matched


def _is_scheduled(when: FaultCondition, number: int) -> bool:
    if when.nth is not None:
        return number in (when.nth if isinstance(when.nth, list) else [when.nth])
    if when.first is not None and number < when.first:
        return False
    return when.every is None or (number - (when.first or 0)) % when.every == 0


def _matches_request(when: FaultCondition, target: RequestTarget) -> bool:
    request, key = target.request, target.key
    path = request.path.removeprefix(_API)
    return (
        (when.path is None or fnmatchcase(path, when.path))
        and (when.method is None or request.method == when.method.upper())
        and (when.key is None or _is_named(key, when.key))
        and (when.stream is None or when.stream == target.stream)
        and _matches_any(when.model, target.models)
        and _matches_any(when.provider, target.providers)
    )


def _is_named(key: Key | None, name: str) -> bool:
    return key is not None and name in (key.name, key.hash, key.secret)


def _matches_any(pattern: str | None, names: tuple[str, ...]) -> bool:
    return pattern is None or any(fnmatchcase(name, pattern) for name in names)
