"""Keeps the catalogue of a process up to date: loads, renews, saves and shares it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from typing import Any

from devflow_core.clocks import utc_now
from devflow_core.errors import DevFlowError, ProtocolError
from devflow_core.messages import JsonObject
from devflow_core.routing import Alternate
from devflow_core.usage import Price

from devflow_routing.catalogue import Catalogue
from devflow_routing.catalogue_changes import CatalogueChange
from devflow_routing.fetched_file import FetchedFile
from devflow_routing.live_evidence import LiveEvidence
from devflow_routing.model_config import ModelConfig

REFRESH_INTERVAL_S = 3600.0
"""Seconds between fetches; the list changes a few times a day (52 of 360 prices in 19 days)."""
POLL_INTERVAL_S = 60.0
"""Seconds until a failed fetch is retried, and a list saved by another process is noticed."""
MAX_PRICE_WAIT_S = 5.0
"""How long a call waits for a price that is unknown, before it is made or refused without one."""
MAX_CACHED_NAMES = 4_096
"""The most names in the cache; bounded, since callers may ask for any name."""

Fetch = Callable[[], Awaitable[JsonObject]]
"""Fetches from the provider; the document is what `decode` reads and the file keeps."""


class LiveCatalogue:
    """Holds the current list of models, and passes each new one to its subscribers at once.

    Args:
        shipped: the list that is used if none was ever fetched.
        decode: turns a fetched document into a catalogue, without the user's corrections.
        file: where fetched lists are kept, and read at the start; None: memory only.
        overrides: the user's corrections, applied to every list.
        unlisted: models that lists leave out, to price recorded work with.
        evidence: the scores of its models; None: the shipped ones, which are never renewed.
        clock: the time in UTC.

    Raises:
        ConfigurationError: the saved list is damaged, or a correction is wrong.
    """

    def __init__(  # noqa: PLR0913 - where a list comes from, and what belongs to it
        self,
        shipped: Callable[[], Catalogue],
        decode: Callable[[JsonObject], Catalogue],
        *,
        file: FetchedFile | None = None,
        overrides: Mapping[str, Mapping[str, Any]] | None = None,
        unlisted: Callable[[], Catalogue] | None = None,
        evidence: LiveEvidence | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._decode = decode
        self._file = file
        self._overrides = overrides or {}
        self._unlisted = unlisted
        self.evidence = evidence or LiveEvidence()
        """The scores of its models in public benchmarks."""
        self._clock = clock
        self._subscribers: list[Callable[[Catalogue], None]] = []
        self._asked_at: datetime | None = None
        self._task: asyncio.Task[tuple[CatalogueChange, ...]] | None = None
        self.last_error: DevFlowError | None = None
        """Why the last fetch failed; None if it succeeded."""
        kept = file.read(decode) if file is not None else None
        self._use(kept or shipped())

    @property
    def current(self) -> Catalogue:
        """The current list with the corrections."""
        return self._current

    @property
    def age_s(self) -> float:
        """The age of the current list, in seconds."""
        return max(0.0, (self._clock() - self._current.fetched_at).total_seconds())

    def price_of(self, model: str) -> Price | None:
        """Return the price of a model by any name: the provider's, Claude Code's, another cloud's.

        None if it is unknown. The list comes first; retired models keep their last price.
        """
        known = self._cached_model(model)
        return None if known is None else known.price

    def find_priced(self, name: str) -> ModelConfig | None:
        """Return the model of a name as `price_of` reads it; None if it is unknown.

        Models that no list of chat models holds are included: embeddings, and retired ones.
        """
        return self._cached_model(name)

    async def learn_price(self, name: str, fetch: Fetch) -> None:
        """Fetch the list if the price of a name is unknown, and the list is older than an hour.

        Waits at most `MAX_PRICE_WAIT_S`. A failure is not raised: the price then stays unknown,
        and the next fetch for a price is a minute later at the earliest.
        """
        known = self._cached_model(name)
        if known is not None and known.price is not None:
            return
        now = self._clock()
        is_tried = self._asked_at is not None and (now - self._asked_at).total_seconds() < (
            POLL_INTERVAL_S
        )
        if is_tried or self.age_s < REFRESH_INTERVAL_S:
            return
        self._asked_at = now
        with suppress(DevFlowError, TimeoutError):
            async with asyncio.timeout(MAX_PRICE_WAIT_S):
                await self.refresh(fetch)

    def find_served(self, name: str) -> Alternate | None:
        """Return the listed model that a reply calls by this name; None if there is none."""
        model = self._current.find_listed(name)
        if model is None:
            return None
        return Alternate(model=model.id, slug=model.canonical_slug, price=model.price)

    def subscribe(self, on_change: Callable[[Catalogue], None]) -> None:
        """Call `on_change` with every new list from now on, before the list becomes `current`."""
        self._subscribers.append(on_change)

    async def refresh(self, fetch: Fetch) -> tuple[CatalogueChange, ...]:
        """Fetch now, or wait for the fetch that is running; return what has changed in the list.

        Cancelling one caller does not cancel the fetch of the others.

        Raises:
            DevFlowError: the list could not be fetched, and the old one stays in use.
            ConfigurationError: the new list is in use but could not be saved.
        """
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._fetch_and_replace(fetch))
        return await asyncio.shield(self._task)

    async def reload(self) -> bool:
        """Use a newer list that another process has saved; return whether there was one."""
        file = self._file
        if file is None or not file.has_changed():
            return False
        try:
            found = await asyncio.to_thread(file.read, self._decode)
        except Exception:  # noqa: BLE001 - the decoder is another package's
            return False  # a damaged file must not replace a good list; a fetch repairs it
        if found is None or found.fetched_at <= self._current.fetched_at:
            return False
        self._use(found)
        self.last_error = None
        return True

    async def run(
        self,
        fetch: Fetch,
        *,
        on_error: Callable[[DevFlowError], None] = lambda _error: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Renew the list at once and then every hour, until cancelled.

        This belongs in the task group of the gateway's owner.
        Of several processes with one file, the first fetches, and the others read what it saved.

        Args:
            fetch: fetches the list from the provider.
            on_error: called with every failure of `refresh`; the next try is a minute later.
            sleep: waits; tests replace it.
        """
        is_due = True
        while True:
            if is_due:
                try:
                    await self.refresh(fetch)
                except DevFlowError as error:
                    on_error(error)
            await sleep(POLL_INTERVAL_S)
            await self.reload()
            is_due = self.last_error is not None or self.age_s >= REFRESH_INTERVAL_S

    async def aclose(self) -> None:
        """Cancel a fetch that is running, and wait until it has ended."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            if not self._task.cancelled():
                # its waiters may have left; asyncio would report its error as never retrieved
                self._task.exception()

    async def _fetch_and_replace(self, fetch: Fetch) -> tuple[CatalogueChange, ...]:
        try:
            document = await fetch()
            # hundreds of rows are validated: milliseconds that no request should wait for
            fresh = await asyncio.to_thread(self._decode_fetched, document)
            former = self._current
            self._use(fresh)
        except DevFlowError as error:
            self.last_error = error
            raise
        except Exception as error:
            self.last_error = ProtocolError(
                f"The provider's list of models cannot be used ({type(error).__name__}); the known "
                "list stays in use. Fetch it again later with `devflow models refresh`."
            )
            raise self.last_error from error
        self.last_error = None
        if self._file is not None:
            await asyncio.to_thread(self._file.save, document)
        return self._current.changes_since(former)

    def _decode_fetched(self, document: JsonObject) -> Catalogue:
        fresh = self._decode(document)
        if not fresh.models:
            raise ProtocolError("The provider lists no models; the known list stays in use.")
        return fresh

    def _use(self, catalogue: Catalogue) -> None:
        fresh = catalogue.with_overrides(self._overrides)
        for on_change in self._subscribers:
            on_change(fresh)
        self._current = fresh
        self._cached_model = lru_cache(maxsize=MAX_CACHED_NAMES)(self._find_model)

    def _find_model(self, name: str) -> ModelConfig | None:
        known = self._current.lookup(name)
        if (known is None or known.price is None) and self._unlisted is not None:
            known = self._unlisted().lookup(name) or known
        return known
