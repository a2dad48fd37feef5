"""The catalogue kept fresh: one fetch at a time, the old list while it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

from devflow_core.clocks import utc_now
from devflow_core.errors import DevFlowError, ProtocolError

from devflow_routing.catalogue import Catalogue, CatalogueChange

REFRESH_INTERVAL_S = 3600.0
"""The list of models changes a few times a day (52 of 360 prices in 19 days of 2026)."""
_RETRY_INTERVAL_S = 60.0


class CatalogueRefresher:
    """Holds the present catalogue and renews it.

    Args:
        fetch: asks the provider for its list as it is now.
        initial: what is used before the first fetch.
        overrides: the user's corrections, laid over every list.
        on_change: called with every new catalogue (`Router.set_catalogue`).
        clock: the time in UTC.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Catalogue]],
        *,
        initial: Catalogue,
        overrides: Mapping[str, Mapping[str, Any]] | None = None,
        on_change: Callable[[Catalogue], None] = lambda _catalogue: None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._fetch = fetch
        self._overrides = overrides or {}
        self._on_change = on_change
        self._clock = clock
        self._task: asyncio.Task[tuple[CatalogueChange, ...]] | None = None
        self.current = initial.with_overrides(self._overrides)
        self.last_changes: tuple[CatalogueChange, ...] = ()
        """What the last fetch has changed."""
        self.last_error: DevFlowError | None = None
        """Why the last fetch failed; None when it did not."""

    @property
    def age_s(self) -> float:
        """How old the present list is, in seconds."""
        return max(0.0, (self._clock() - self.current.fetched_at).total_seconds())

    async def refresh(self) -> tuple[CatalogueChange, ...]:
        """Fetch now, or wait for the fetch that is under way; what has changed.

        A caller who is cancelled does not cancel the fetch of the others.

        Raises:
            DevFlowError: the list could not be had; the old one stays in use.
        """
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._fetch_and_replace())
        return await asyncio.shield(self._task)

    async def run(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Renew for ever; belongs into the task group of whoever owns the gateway."""
        while True:
            try:
                await self.refresh()
                await sleep(REFRESH_INTERVAL_S)
            except DevFlowError:
                await sleep(_RETRY_INTERVAL_S)

    async def aclose(self) -> None:
        """End a fetch that is under way."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _fetch_and_replace(self) -> tuple[CatalogueChange, ...]:
        try:
            fresh = await self._fetch()
            if not fresh.models:
                raise ProtocolError("The provider lists no models; the known list stays in use.")
        except DevFlowError as error:
            self.last_error = error
            raise
        fresh = fresh.with_overrides(self._overrides)
        self.last_error = None
        self.last_changes = fresh.changes_since(self.current)
        self.current = fresh
        self._on_change(fresh)
        return self.last_changes
