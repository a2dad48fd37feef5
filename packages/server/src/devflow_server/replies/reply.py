"""Describes a reply on its way to a client, from the pipeline, a shared call, or the cache."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal, Protocol

from devflow_core.events import Event, Started
from devflow_core.ledger import LedgerEntry
from devflow_core.messages import JsonObject
from devflow_core.pipeline import Reply
from devflow_core.usage import usd_text

from devflow_server.http.message import Header, is_header_safe

_UNSAFE_CHARS = re.compile(r"[^ -+\--~]")
"""Matches everything but printable ASCII, and the comma, which is the separator."""
_MAX_FIELD_CHARS = 64
"""The length to which names are cut, so that the header has room for at least 15."""
_MAX_OMITTED_CHARS = 1_000
"""The characters that the header has room for; names beyond them are only counted."""

SUBSTITUTION_HEADER = "x-devflow-model-substituted"
"""The header that reports an unknown name, and the model that was asked in its place."""

CacheState = Literal["off", "miss", "hit"]
"""`hit`: another request's reply, repeated; `miss`: made now, to be repeated; `off`: neither."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyMetadata:
    """Facts about a reply, for the headers `X-DevFlow-…` and the `devflow` of a usage event."""

    request_id: str
    model: str
    provider: str | None
    """The provider that answered; None if it is unknown."""
    attempts: int
    """The number of calls to models made for this request; 0 for a repeated reply."""
    cache: CacheState = "off"
    cost_usd: Decimal | None = None
    """The cost of the request; None while the reply is still arriving."""
    omitted: tuple[str, ...] = ()
    """Fields of the request that were not passed on to the provider."""
    substitutions: tuple[tuple[str, str], ...] = ()
    """Unknown names, each with the model that was asked in its place."""
    check: str = ""
    """What became of the answer's checks; empty if it was not checked."""

    def headers(self) -> list[Header]:
        """Return the metadata as headers, without values that are empty or not allowed in one."""
        found = [
            ("x-devflow-model", self.model),
            ("x-devflow-provider", self.provider or ""),
            ("x-devflow-attempts", str(self.attempts)),
            ("x-devflow-cache", self.cache),
            ("x-devflow-cost-usd", "" if self.cost_usd is None else usd_text(self.cost_usd)),
            ("x-devflow-omitted", _format_omitted(self.omitted)),
            (SUBSTITUTION_HEADER, format_substitutions(self.substitutions)),
            ("x-devflow-check", self.check),
        ]
        return [(name, value) for name, value in found if value and is_header_safe(value)]

    def annotations(self) -> JsonObject:
        """Return the metadata for the event or body with the usage; the cost is decimal text."""
        return {
            "request_id": self.request_id,
            "model": self.model,
            "provider": self.provider,
            "attempts": self.attempts,
            "cache": self.cache,
            "cost_usd": None if self.cost_usd is None else usd_text(self.cost_usd),
            **({"check": self.check} if self.check else {}),
        }


def format_substitutions(substitutions: Iterable[tuple[str, str]]) -> str:
    """Return substitutions as a header's value: `claude-opus-9 -> anthropic/claude-opus-5`."""
    return ", ".join(f"{unknown_name} -> {model}" for unknown_name, model in substitutions)


def _format_omitted(names: tuple[str, ...]) -> str:
    """Return field names as a header's value, cleaned, since callers choose them."""
    shown: list[str] = []
    room = _MAX_OMITTED_CHARS
    for name in names:
        text = _UNSAFE_CHARS.sub("?", name)[:_MAX_FIELD_CHARS]
        room -= len(text) + 2
        if room < 0:
            shown.append(f"{len(names) - len(shown)} more")
            break
        shown.append(text)
    return ", ".join(shown)


class HttpReply(Protocol):
    """A reply that has begun."""

    def __aiter__(self) -> AsyncIterator[Event]:
        """Iterate over its events, once."""
        ...

    def start_metadata(self, started: Started) -> ReplyMetadata:
        """Return what is known at its first event; the cost is not."""
        ...

    def final_metadata(self) -> ReplyMetadata:
        """Return what is known once `Finished` has come.

        Raises:
            RuntimeError: the reply has not ended.
        """
        ...


class LiveReply:
    """A reply directly from the pipeline."""

    def __init__(self, reply: Reply, cache: CacheState = "off") -> None:
        self._reply = reply
        self._cache: CacheState = cache

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._reply.__aiter__()

    def start_metadata(self, started: Started) -> ReplyMetadata:
        reply = self._reply
        # an answer that was checked is complete, any other one is still coming
        under_way = 0 if reply.route.verification else 1
        return ReplyMetadata(
            request_id=reply.entry_id,
            model=reply.journal.served or reply.route.chosen.model,
            provider=started.provider,
            attempts=len(reply.journal.ended) + under_way,
            cache=self._cache,
            omitted=reply.journal.omitted,
            substitutions=reply.route.substitutions,
            check=_check_of(reply),
        )

    def final_metadata(self) -> ReplyMetadata:
        reply, entry = self._reply, self._reply.entry
        if entry is None:
            raise RuntimeError("the reply has not ended")
        return replace(
            metadata_from_entry(entry, self._cache),
            omitted=reply.journal.omitted,
            substitutions=reply.route.substitutions,
            check=_check_of(reply),
        )


def _check_of(reply: Reply) -> str:
    found = reply.route.verification
    return found.summary if found else ""


def metadata_from_entry(entry: LedgerEntry, cache: CacheState) -> ReplyMetadata:
    """Return the metadata of a finished reply from its ledger entry."""
    final = entry.final_attempt
    return ReplyMetadata(
        request_id=entry.entry_id,
        model=entry.model,
        provider=final.provider if final else None,
        attempts=len(entry.attempts),
        cache=cache,
        cost_usd=entry.cost_usd,
    )
