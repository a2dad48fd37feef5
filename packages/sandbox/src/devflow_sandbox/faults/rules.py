"""Decides which fault strikes which request: counters, patterns and draws, nothing else."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from devflow_sandbox.books.accounts import Key
from devflow_sandbox.faults.form import Fault, Script, When
from devflow_sandbox.message import Request

_API = "/api/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What a request is about, as far as it is known where the question is asked."""

    request: Request
    key: Key | None = None
    stream: bool | None = None
    models: tuple[str, ...] = ()
    """The names by which the model can be meant."""
    providers: tuple[str, ...] = ()


@dataclass(slots=True)
class Rules:
    """A fault script at work: its rules with how often each was met and has struck."""

    script: Script = field(default_factory=Script)
    seed: int = 0
    _seen: dict[int, int] = field(default_factory=dict[int, int])
    _struck: dict[int, int] = field(default_factory=dict[int, int])

    def arm(self) -> Armed:
        """The rules for one request."""
        return Armed(self)

    def name(self, index: int) -> str:
        """How the bill calls a rule."""
        return self.script.faults[index].id or f"fault {index + 1}"

    def is_due(self, index: int) -> bool:
        """Count a request that fits the rule, and say whether it is struck."""
        when = self.script.faults[index].when
        number = self._seen[index] = self._seen.get(index, 0) + 1
        struck = self._struck.get(index, 0)
        is_due = (
            _is_turn(when, number)
            and (when.times is None or struck < when.times)
            and self._draw(index, number) < when.probability
        )
        if is_due:
            self._struck[index] = struck + 1
        return is_due

    def _draw(self, index: int, number: int) -> float:
        digest = hashlib.blake2b(repr((self.seed, index, number)).encode(), digest_size=8)
        return int.from_bytes(digest.digest()) / 2**64


@dataclass(slots=True)
class Armed:
    """The rules for one request: each is counted once, however many providers are tried."""

    rules: Rules
    _decided: dict[int, bool] = field(default_factory=dict[int, bool])

    def strike(self, aim: Aim) -> tuple[Fault, str] | None:
        """The first rule that strikes, with its name."""
        found: tuple[Fault, str] | None = None
        for index, fault in enumerate(self.rules.script.faults):
            if not _fits(fault.when, aim):
                continue
            if index not in self._decided:
                self._decided[index] = self.rules.is_due(index)
            if self._decided[index] and found is None:
                found = fault, self.rules.name(index)
        return found


def _is_turn(when: When, number: int) -> bool:
    if when.nth is not None:
        return number in (when.nth if isinstance(when.nth, list) else [when.nth])
    if when.first is not None and number < when.first:
        return False
    return when.every is None or (number - (when.first or 0)) % when.every == 0


def _fits(when: When, aim: Aim) -> bool:
    request, key = aim.request, aim.key
    path = request.path.removeprefix(_API)
    keys = () if key is None else (key.name, key.hash, key.secret)
    return (
        (when.path is None or fnmatchcase(path, when.path))
        and (when.method is None or request.method == when.method.upper())
        and (when.key is None or when.key in keys)
        and (when.stream is None or when.stream == aim.stream)
        and _matches(when.model, aim.models)
        and _matches(when.provider, aim.providers)
    )


def _matches(pattern: str | None, names: tuple[str, ...]) -> bool:
    return pattern is None or any(fnmatchcase(name, pattern) for name in names)
