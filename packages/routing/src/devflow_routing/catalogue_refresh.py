"""The catalogue kept fresh: one fetch at a time, the old list while it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from devflow_core.errors import DevFlowError, ProtocolError

from devflow_routing.catalogue import Catalogue, Change

REFRESH_S = 3600.0
"""The list of models changes a few times a day (52 of 360 prices in 19 days of 2026)."""
_RETRY_S = 60.0


class CatalogueRefresh:
    """Holds the present catalogue and renews it.

    Args:
        fetch: asks the provider for its list as it is now.
        start: what is used before the first fetch.
        overrides: the user's corrections, laid over every list.
        use: told of every new catalogue (`Router.use`).
        clock: the time in UTC.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Catalogue]],
        *,
        start: Catalogue,
        overrides: Mapping[str, Mapping[str, Any]] | None = None,
        use: Callable[[Catalogue], None] = lambda _catalogue: None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._fetch = fetch
        self._overrides = overrides or {}
        self._use = use
        self._clock = clock
        self._running: asyncio.Task[tuple[Change, ...]] | None = None
        self.current = start.with_overrides(self._overrides)
        self.changes: tuple[Change, ...] = ()
        """What the last fetch has changed."""
        self.error: DevFlowError | None = None
        """Why the last fetch failed; None when it did not."""

    @property
    def age_s(self) -> float:
        """How old the present list is, in seconds."""
        return max(0.0, (self._clock() - self.current.fetched_at).total_seconds())

    async def refresh(self) -> tuple[Change, ...]:
        """Fetch now, or wait for the fetch that is under way; what has changed.

        A caller who is cancelled does not cancel the fetch of the others.

        Raises:
            DevFlowError: the list could not be had; the old one stays in use.
        """
        if self._running is None or self._running.done():
            self._running = asyncio.ensure_future(self._renew())
        return await asyncio.shield(self._running)

    async def run(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Renew for ever; belongs into the task group of whoever owns the gateway."""
        while True:
            try:
                await self.refresh()
                await sleep(REFRESH_S)
            except DevFlowError:
                await sleep(_RETRY_S)

    async def aclose(self) -> None:
        """End a fetch that is under way."""
        if self._running is not None and not self._running.done():
            self._running.cancel()
            await asyncio.wait([self._running])

    async def _renew(self) -> tuple[Change, ...]:
        try:
            fresh = await self._fetch()
            if not fresh.models:
                raise ProtocolError("The provider lists no models; the known list stays in use.")
        except DevFlowError as error:
            self.error = error
            raise
        fresh = fresh.with_overrides(self._overrides)
        self.error = None
        self.changes = fresh.changes_since(self.current)
        self.current = fresh
        self._use(fresh)
        return self.changes
