"""One key of the gateway: what it rests for, and until when."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from devflow_core.ports import UpstreamKey

from devflow_upstream.limits import WHOLE_KEY

_MAX_RESTS = 1000
"""Of one key: for so many models it is remembered that it rests."""


def key_id(secret: str) -> str:
    """Fingerprint of a key: the first 12 hex digits of its SHA-256."""
    return hashlib.sha256(secret.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyState:
    """What may be shown of a key."""

    id: str
    source: Literal["pool", "single"]
    cool_down_s: float
    """0: it is in use."""
    reason: str | None
    """Why it cools down: the code of the error."""
    limited_s: Mapping[str, float]
    """The models, or kinds of models, for which alone it rests, and for how long."""


@dataclass(frozen=True, slots=True)
class KeyFailure:
    """Why a provider does not serve a key."""

    status: int
    """401: it is refused; 402: it may spend no more; 429: it is throttled."""
    words: str | None
    error_type: str | None


THROTTLED = KeyFailure(429, None, None)


@dataclass(slots=True)
class Rest:
    """A key is left alone for a while; kept until a call has found out that it is good again."""

    available_at_s: float = 0.0
    reason: str = ""
    failure: KeyFailure | None = None
    """What it rests for, where a provider has said it."""
    is_probing: bool = False
    refusals_in_a_row: int = 0

    @property
    def ends_at_s(self) -> float:
        """0 while a call finds out: it may end at any moment."""
        return 0.0 if self.is_probing else self.available_at_s

    def end_probe(self, now_s: float) -> None:
        """The call that was to find out has not: another one may."""
        if self.is_probing:
            self.available_at_s, self.is_probing = now_s, False


class KeySlot:
    """One key of the gateway, and what it rests for."""

    def __init__(self, secret: str, source: Literal["pool", "single"]) -> None:
        self.key = UpstreamKey(secret=secret, id=key_id(secret), source="server")
        self.source: Literal["pool", "single"] = source
        self.rests: dict[str, Rest] = {}
        """By scope: `WHOLE_KEY`, a kind of models, or a model."""

    def rests_whole(self, now_s: float) -> bool:
        """Whether no model can be asked with it."""
        rest = self.rests.get(WHOLE_KEY)
        return rest is not None and rest.available_at_s > now_s

    def make_rest(self, scope: str, now_s: float) -> Rest:
        """The rest for a scope; one that has passed makes room for it where there are too many."""
        if scope not in self.rests and len(self.rests) >= _MAX_RESTS:
            passed = [one for one, rest in self.rests.items() if rest.available_at_s <= now_s]
            for one in passed or [next(iter(self.rests))]:
                del self.rests[one]
        return self.rests.setdefault(scope, Rest())

    def rests_for(self, scopes: Iterable[str]) -> list[Rest]:
        """What keeps the key from these scopes, or has until lately."""
        return [self.rests[one] for one in scopes if one in self.rests]

    def is_limited(self, scopes: Sequence[str], now_s: float) -> bool:
        """Whether a limit of the model alone, or of its kind, keeps the key from it."""
        return not self.rests_whole(now_s) and bool(self.rests_for(scopes[1:]))

    def ends_at_s(self, scopes: Iterable[str]) -> float:
        """When the last thing ends that keeps the key away; 0: at any moment."""
        return max((rest.ends_at_s for rest in self.rests_for(scopes)), default=0.0)

    def failure(self, scopes: Iterable[str]) -> KeyFailure:
        """Why the provider does not serve the key."""
        said = (rest.failure for rest in self.rests_for(scopes) if rest.failure)
        return next(said, THROTTLED)

    def describe(self, scopes: Iterable[str]) -> str:
        """The key, and why it cannot be used."""
        rest = next(iter(self.rests_for(scopes)), None)
        words = rest and ((rest.failure and rest.failure.words) or rest.reason)
        return f"{self.key.id}: {words or 'being tried'}"

    def describe_state(self, now_s: float) -> KeyState:
        """The key as it may be shown."""
        resting_s = {
            scope: rest.available_at_s - now_s
            for scope, rest in self.rests.items()
            if rest.available_at_s > now_s
        }
        is_resting = WHOLE_KEY in resting_s
        return KeyState(
            id=self.key.id,
            source=self.source,
            cool_down_s=resting_s.pop(WHOLE_KEY, 0.0),
            reason=self.rests[WHOLE_KEY].reason if is_resting else None,
            limited_s=resting_s,
        )
