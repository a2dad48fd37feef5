"""How many bytes of requests this process holds, whose they are, and who has to go when it is full.

Two parts, so that nobody without a key can keep out those who have one: a quarter is for what is
not admitted yet (heads and bodies that come in pieces, requests that wait behind another), the
rest for what callers that are known have sent and wait to have answered.
"""

from __future__ import annotations

from typing import Protocol

_UNADMITTED_PART = 4
_MAX_OWNERS_PART = 2


class Holder(Protocol):
    """A connection that holds bytes of a request which is not admitted yet."""

    def evict(self) -> None:
        """Refuse what is not admitted and hold nothing more of it."""
        ...


class HeldBytes:
    """The count. Nobody waits for a place: who gets none is told at once, so nothing can lock.

    Args:
        max_bytes: of all requests in this process.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_unadmitted = max_bytes // _UNADMITTED_PART
        self._max_admitted = max_bytes - self._max_unadmitted
        self._max_per_owner = self._max_admitted // _MAX_OWNERS_PART
        self._unadmitted: dict[Holder, int] = {}
        self._by_owner: dict[str, int] = {}
        self._unadmitted_bytes = 0
        self._admitted_bytes = 0

    @property
    def total(self) -> int:
        """All bytes that are held now."""
        return self._unadmitted_bytes + self._admitted_bytes

    def take(self, owner: str, count: int) -> bool:
        """Take a place for bytes of an admitted request, if there is one.

        One owner gets half of it at the most: the other half is for the others.
        """
        if not count:
            return True
        own = self._by_owner.get(owner, 0) + count
        if own > self._max_per_owner or self._admitted_bytes + count > self._max_admitted:
            return False
        self._by_owner[owner] = own
        self._admitted_bytes += count
        return True

    def give_back(self, owner: str, count: int) -> None:
        """The bytes are not held any more."""
        if not count:
            return
        own = self._by_owner[owner] - count
        if own:
            self._by_owner[owner] = own
        else:
            del self._by_owner[owner]
        self._admitted_bytes -= count

    def hold_unadmitted(self, holder: Holder, count: int) -> None:
        """A connection holds this many bytes now; where it is too much, the oldest has to go.

        What comes in pieces and is honest is there within a moment, so the one that began first is
        the one that is slow on purpose.
        """
        self._unadmitted_bytes += count - self._unadmitted.get(holder, 0)
        if count:
            self._unadmitted[holder] = count
        else:
            self._unadmitted.pop(holder, None)
        while self._unadmitted_bytes > self._max_unadmitted:
            oldest = next(iter(self._unadmitted))
            self._unadmitted_bytes -= self._unadmitted.pop(oldest)
            oldest.evict()
