"""Keeps the scores of models up to date in a process: loads, renews, saves and shares them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

from devflow_core.clocks import utc_now
from devflow_core.errors import ConfigurationError, DevFlowError, ProtocolError
from devflow_core.messages import JsonObject

from devflow_routing.evidence.scores import Evidence, load_shipped_evidence
from devflow_routing.fetched_file import FetchedFile

REFRESH_INTERVAL_S = 86_400.0
"""Seconds between fetches; boards change a few times a week, and an account has 500 calls a day."""
RETRY_INTERVAL_S = 3_600.0
"""Seconds until a failed fetch is retried."""
POLL_INTERVAL_S = 60.0
"""Seconds until scores that another process has saved are noticed."""

Fetch = Callable[[], Awaitable[JsonObject]]
"""Fetches from the provider; the document is what `decode` reads and the file keeps."""


class LiveEvidence:
    """Holds the current scores, and passes new ones to its subscribers at once.

    Choices are possible without fetched scores, so a file that cannot be used is an error to look
    up in `last_error`, and the shipped scores are used.

    Args:
        decode: turns a fetched document into evidence; None: only the shipped scores are known.
        file: where fetched scores are kept, and read at the start; None: memory only.
        clock: the time in UTC.
    """

    def __init__(
        self,
        decode: Callable[[JsonObject], Evidence] | None = None,
        *,
        file: FetchedFile | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._decode = decode
        self._file = file
        self._clock = clock
        self._subscribers: list[Callable[[Evidence], None]] = []
        self.last_error: DevFlowError | None = None
        """Why scores could not be fetched, saved or read, the last time; None if all is well."""
        self._current = self._read_saved() or load_shipped_evidence()

    @property
    def current(self) -> Evidence:
        """The scores in use: the shipped ones, and those fetched last."""
        return self._current

    @property
    def age_s(self) -> float | None:
        """The time since scores were last fetched, in seconds; None if they never were."""
        known = self._current
        if not known.is_fetched or known.as_of is None:
            return None
        return max(0.0, (self._clock() - known.as_of).total_seconds())

    def subscribe(self, on_change: Callable[[Evidence], None]) -> None:
        """Call `on_change` with all new scores from now on, before they become `current`."""
        self._subscribers.append(on_change)

    async def refresh(self, fetch: Fetch) -> Evidence:
        """Fetch now, save, and return the scores in use.

        Without a `decode`, nothing is fetched.

        Raises:
            DevFlowError: they could not be fetched, and the old ones stay in use.
            ConfigurationError: the new ones are in use but could not be saved.
        """
        decode = self._decode
        if decode is None:
            return self._current
        try:
            document = await fetch()
            found = await asyncio.to_thread(decode, document)
            self._use(found)
            if self._file is not None:
                await asyncio.to_thread(self._file.save, document)
        except DevFlowError as error:
            self.last_error = error
            raise
        except Exception as error:
            self.last_error = ProtocolError(
                f"The provider's scores cannot be used ({type(error).__name__}); the known ones"
                " stay in use. Fetch them again later with `devflow models refresh`."
            )
            raise self.last_error from error
        self.last_error = None
        return self._current

    async def reload(self) -> bool:
        """Use newer scores that another process has saved; return whether there were some."""
        if self._file is None or not self._file.has_changed():
            return False
        found = await asyncio.to_thread(self._read_saved)
        if found is None or found.version == self._current.version:
            return False
        self._use(found)
        return True

    async def run(
        self,
        fetch: Fetch,
        *,
        on_error: Callable[[DevFlowError], None] = lambda _error: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Renew the scores every day, until cancelled; fetch at once if they are older.

        Of several processes with one file, the first fetches, and the others read what it saved.

        Args:
            fetch: fetches scores from the provider.
            on_error: called when a fetch fails for another reason than the one before it, so that
                a missing key is told once.
            sleep: waits; tests replace it.
        """
        told, wait_s = "", 0.0
        while True:
            age_s = self.age_s
            if wait_s <= 0 and (age_s is None or age_s >= REFRESH_INTERVAL_S):
                try:
                    await self.refresh(fetch)
                    told = ""
                except DevFlowError as error:
                    wait_s = RETRY_INTERVAL_S
                    if error.message != told:
                        told = error.message
                        on_error(error)
            await sleep(POLL_INTERVAL_S)
            wait_s -= POLL_INTERVAL_S
            await self.reload()

    def _read_saved(self) -> Evidence | None:
        if self._file is None or self._decode is None:
            return None
        try:
            return self._file.read(self._decode)
        except ConfigurationError as error:
            self.last_error = error
            return None

    def _use(self, evidence: Evidence) -> None:
        for on_change in self._subscribers:
            on_change(evidence)
        self._current = evidence
