"""Gives each call a key, and another one if the first is refused.

A caller's own key is the only one tried: such a request is never paid with another key. Other
requests use the pool in rotation, then the single key.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from types import TracebackType

from devflow_core.errors import (
    PaymentRequired,
    RateLimited,
    UpstreamError,
)
from devflow_core.events import Event
from devflow_core.masking import KNOWN_SECRETS
from devflow_core.ports import Call, EventStream, Upstream, UpstreamKey
from devflow_core.wrapping import WrappedCall

from devflow_upstream.keys import KeyPool, key_id

MIN_HELD_CHARS = 16
"""The shortest caller's key that is masked; a shorter text could be a word of any message."""


class KeyRotation:
    """An `Upstream` that gives each call a key, and another one if the first is refused.

    Args:
        inner: the upstream that is asked with the key set.
        pool: the gateway's own keys.
    """

    def __init__(self, inner: Upstream, pool: KeyPool) -> None:
        self._inner = inner
        self._pool = pool

    def open(self, call: Call, /) -> EventStream:
        """Open the call with the caller's own key, or with keys of the pool until one is accepted.

        Raises:
            StillLimited: no key can ask this model now, and one can ask others.
            KeysExhausted: every key rests for every model.
            ConfigurationError: there is no key at all.
            UpstreamError: the call failed, and another key would not help.
        """
        return _KeyedCall(self._inner, call, self._pool)


class _KeyedCall(WrappedCall):
    """One call, asked with one key after the other until one is accepted."""

    __slots__ = ("_call", "_held", "_pool", "_upstream")

    def __init__(self, upstream: Upstream, call: Call, pool: KeyPool) -> None:
        super().__init__()
        self._upstream = upstream
        self._call = call
        self._pool = pool
        self._held: str | None = None
        """The caller's own key, which is masked everywhere while the call runs."""

    async def __aenter__(self) -> AsyncIterator[Event]:
        secret = self._call.request.user_key
        if not secret:
            return await self._open_with_ours()
        if len(secret) >= MIN_HELD_CHARS:
            KNOWN_SECRETS.hold(secret)
            self._held = secret
        try:
            return await self._open_with(
                UpstreamKey(secret=secret, id=key_id(secret), source="user")
            )
        except BaseException:
            self._release()
            raise

    async def _open_with_ours(self) -> AsyncIterator[Event]:
        refused: UpstreamError | None = None
        tried: set[str] = set()
        pool, model = self._pool, self._call.candidate.model
        while True:
            key = pool.pick(model) if refused else await self._wait_for_key(model)
            if key is None or key.id in tried:
                raise self._final_error(refused)
            tried.add(key.id)
            try:
                events = await self._open_with(key)
            except UpstreamError as error:
                if not self._settle_key(key, error):
                    raise
                refused = error
            except BaseException:
                pool.release(key, model)
                raise
            else:
                pool.mark_good(key, model)
                return events

    async def _wait_for_key(self, model: str) -> UpstreamKey | None:
        call = self._call
        return await self._pool.wait_for_key(
            model, call.journal.remaining_s(), is_last=call.is_last
        )

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        try:
            return await super().__aexit__(kind, error, trace)
        finally:
            self._release()

    def _release(self) -> None:
        if self._held is not None:
            KNOWN_SECRETS.release(self._held)
            self._held = None

    async def _open_with(self, key: UpstreamKey) -> AsyncIterator[Event]:
        return await self._enter(self._upstream.open(replace(self._call, key=key)))

    def _settle_key(self, key: UpstreamKey, error: UpstreamError) -> bool:
        """Apply an error to its key; return whether another key may succeed.

        An answer with a status that does not make the key rest shows that the key was accepted.
        """
        model = self._call.candidate.model
        is_resting = self._pool.record_failure(key, error, model)
        if not is_resting and error.status is not None:
            self._pool.mark_good(key, model)
        elif not is_resting:
            self._pool.release(key, model)
        return is_resting or isinstance(error, PaymentRequired)

    def _final_error(self, refused: UpstreamError | None) -> Exception:
        """Return the error when no key is left: that all rest, or the last key's own."""
        if isinstance(refused, RateLimited) or (
            refused is not None and self._pool.cool_down_s(refused) is None
        ):
            return refused
        error = self._pool.exhausted_error(self._call.candidate.model)
        error.model = self._call.candidate.model
        error.__cause__ = refused
        return error
