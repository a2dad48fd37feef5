"""Keeps one of the gateway's keys, with the models it rests for and until when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from devflow_core.ids import key_id
from devflow_core.ports import UpstreamKey

from devflow_upstream.limits import WHOLE_KEY

_MAX_RESTS = 1000
"""The number of models for which the rests of one key are remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyState:
    """The state of a key, without its secret."""

    id: str
    source: Literal["pool", "single"]
    cool_down_s: float
    """The seconds until the rest for every model ends; 0 without one."""
    reason: str | None
    """The code of the error that began the rest for every model; None without one."""
    limited_s: Mapping[str, float]
    """The seconds of each other rest, by the model or kind of models that it is for."""


@dataclass(frozen=True, slots=True)
class KeyFailure:
    """Why a provider does not serve a key."""

    status: int
    """401 if the key is refused, 402 if it may spend no more, 429 if it is throttled."""
    words: str | None
    """The provider's own words; None if it gave none."""
    error_type: str | None
    """The provider's name for the kind of error; None if it gave none."""


THROTTLED = KeyFailure(429, None, None)
"""The failure that is assumed if the provider gave no reason."""


@dataclass(slots=True)
class Rest:
    """A period in which a key is not used; kept until a call has shown that it is good again."""

    available_at_s: float = 0.0
    """When the key may be used again, in monotonic seconds."""
    reason: str = ""
    """The code of the error that the key rests for."""
    failure: KeyFailure | None = None
    """The provider's answer that began the rest; None if it gave none."""
    is_probing: bool = False
    """Whether one call is trying the key; the next one may try it at `available_at_s`."""
    refusals_in_a_row: int = 0
    """The number of refusals in a row that led to this rest; rate limits are not counted."""

    @property
    def ends_at_s(self) -> float:
        """When the rest ends, in monotonic seconds; 0 during a probe, whose end is open."""
        return 0.0 if self.is_probing else self.available_at_s

    def end_probe(self, now_s: float) -> None:
        """End a probe that had no result, so that another call may probe."""
        if self.is_probing:
            self.available_at_s, self.is_probing = now_s, False


class KeySlot:
    """One of the gateway's keys, with its rests."""

    def __init__(self, secret: str, source: Literal["pool", "single"]) -> None:
        self.key = UpstreamKey(secret=secret, id=key_id(secret), source="server")
        self.source: Literal["pool", "single"] = source
        self.rests: dict[str, Rest] = {}
        """Rests by scope: `WHOLE_KEY`, a kind of models, or a model."""

    def rests_whole(self, now_s: float) -> bool:
        """Return whether the key rests for every model."""
        rest = self.rests.get(WHOLE_KEY)
        return rest is not None and rest.available_at_s > now_s

    def make_rest(self, scope: str, now_s: float) -> Rest:
        """Return the rest for a scope, and create it if there is none.

        At 1,000 rests, those that have passed are dropped first; if none has, the oldest is.
        """
        if scope not in self.rests and len(self.rests) >= _MAX_RESTS:
            passed = [one for one, rest in self.rests.items() if rest.available_at_s <= now_s]
            for one in passed or [next(iter(self.rests))]:
                del self.rests[one]
        return self.rests.setdefault(scope, Rest())

    def rests_for(self, scopes: Iterable[str]) -> list[Rest]:
        """Return the rests in these scopes, including those that have passed but await a probe."""
        return [self.rests[one] for one in scopes if one in self.rests]

    def is_limited(self, scopes: Sequence[str], now_s: float) -> bool:
        """Return whether the key rests for a model, or awaits a probe, but not for every model.

        `scopes` are those of the model, `WHOLE_KEY` first.
        """
        return not self.rests_whole(now_s) and bool(self.rests_for(scopes[1:]))

    def ends_at_s(self, scopes: Iterable[str]) -> float:
        """Return when the last rest in these scopes ends, in monotonic seconds.

        0 if there is none, or if a probe may end it at any moment.
        """
        return max((rest.ends_at_s for rest in self.rests_for(scopes)), default=0.0)

    def failure(self, scopes: Iterable[str]) -> KeyFailure:
        """Return why the provider does not serve the key in these scopes, by default `THROTTLED`.

        Of several rests, the first with an answer of the provider's decides.
        """
        said = (rest.failure for rest in self.rests_for(scopes) if rest.failure)
        return next(said, THROTTLED)

    def describe(self, scopes: Iterable[str]) -> str:
        """Return the key's id with the reason for its first rest in these scopes."""
        rest = next(iter(self.rests_for(scopes)), None)
        words = rest and ((rest.failure and rest.failure.words) or rest.reason)
        return f"{self.key.id}: {words or 'being tried'}"

    def describe_state(self, now_s: float) -> KeyState:
        """Return the key's state, for display."""
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
