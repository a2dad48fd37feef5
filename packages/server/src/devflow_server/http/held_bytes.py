"""Counts the bytes of requests that this process holds, by owner, and evicts at the limit.

The memory has two parts, so that callers without a key cannot keep out those who have one: a
quarter is for requests not admitted yet (heads and bodies that arrive in pieces, requests that wait
behind another), the rest for admitted requests until they are answered.
"""

from __future__ import annotations

from typing import Protocol

_UNADMITTED_PART = 4
"""One part in this many is for requests that are not admitted yet."""
_MAX_OWNERS_PART = 2
"""One owner gets at most one part in this many of the rest."""


class Holder(Protocol):
    """A connection that holds bytes of a request which is not admitted yet."""

    def evict(self) -> None:
        """Refuse the request that is not admitted, and free its bytes."""
        ...


class HeldBytes:
    """The count of held bytes; a request without room is refused at once, so nothing can deadlock.

    Args:
        max_bytes: the limit for all requests in this process.
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
        """All bytes held now."""
        return self._unadmitted_bytes + self._admitted_bytes

    def take(self, owner: str, count: int) -> bool:
        """Count bytes of an admitted request; return False if there is no room.

        One owner gets at most half of the room, so that the others always have the other half.
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
        """Stop counting bytes of an admitted request."""
        if not count:
            return
        own = self._by_owner[owner] - count
        if own:
            self._by_owner[owner] = own
        else:
            del self._by_owner[owner]
        self._admitted_bytes -= count

    def hold_unadmitted(self, holder: Holder, count: int) -> None:
        """Set how many bytes a connection holds; beyond the limit, evict until the rest fits.

        An honest request that arrives in pieces is complete within a moment, so the one that began
        first is most likely slow on purpose.
        """
        self._unadmitted_bytes += count - self._unadmitted.get(holder, 0)
        if count:
            self._unadmitted[holder] = count
        else:
            self._unadmitted.pop(holder, None)
        while self._unadmitted_bytes > self._max_unadmitted:
            # a dict keeps the order of insertion, so its first holder began first
            oldest = next(iter(self._unadmitted))
            self._unadmitted_bytes -= self._unadmitted.pop(oldest)
            oldest.evict()
