"""Prices every reply of sessions once: as booked, if it went through the gateway, or by list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path

from devflow_core.ledger import Attempt, LedgerEntry
from devflow_core.repository import project_label
from devflow_core.usage import KnownCost

from devflow_claude_code.copies import find_owners
from devflow_claude_code.reading.rows import TranscriptRow
from devflow_claude_code.reading.session_cost import (
    UNKNOWN_MODEL,
    PriceOf,
    Response,
    parse_time,
    read_response,
)
from devflow_claude_code.reading.usage import NO_TOKENS, TranscriptTokens, as_tokens
from devflow_claude_code.session_digest import MAIN, SessionDigest


@dataclass(frozen=True, slots=True, kw_only=True)
class CostPart:
    """The share of one model in a reply."""

    model: str
    tokens: TranscriptTokens
    cost: KnownCost


@dataclass(frozen=True, slots=True, kw_only=True)
class CostItem:
    """One reply, or one request that only the ledger knows of, with its cost."""

    at: datetime
    session_id: str
    project: str | None
    """The folder of the project's repository, as in the ledger; None if it is unknown."""
    branch: str | None
    agent: str
    """`main`, the id of a sub-agent, or `SIDECHAIN` or `WARM_UP`."""
    parts: tuple[CostPart, ...]
    """By model; several if other models took part, or attempts failed."""
    cost: KnownCost
    """The sum of the parts, in which a reply that lacks several prices counts as one."""
    is_booked: bool
    """Whether the cost is the ledger's; otherwise it is computed from list prices."""


def price_sessions(
    digests: Sequence[SessionDigest], price_of: PriceOf, entries: Iterable[LedgerEntry] = ()
) -> list[CostItem]:
    """Return every reply and booked request of the sessions once, in order of time.

    A reply that went through the gateway stands in both: its row names the ledger's entry as its
    request id, or the provider's id of the reply as its message id. It counts once, at the cost
    that was booked. Booked requests of these sessions that no reply names are added: titles,
    compactions and aborted calls leave no rows, and sub-agents' files may be gone. Replies of
    sessions without any time are left out.

    Args:
        digests: the sessions; those that may hold copies of their replies have to be among them.
        price_of: list prices, for replies that were not booked.
        entries: the ledger's, of any sessions.
    """
    price_of = lru_cache(maxsize=None)(price_of)
    booked = _Booked(entries)
    found, owners = find_owners(digests, [digest.rows for digest in digests])
    items: list[CostItem] = []
    for at, (digest, replies) in enumerate(zip(digests, found, strict=True)):
        for key, row in replies.items():
            if owners[key] == at:
                items += _price_reply(digest, row, price_of, booked.take(row))
    ids = {digest.session_id: digest for digest in digests}
    for entry in booked.rest():
        digest = ids.get(entry.attribution.session_id or "")
        if digest is not None:
            items.append(_item_of_entry(entry, digest))
    return sorted(items, key=lambda item: item.at)


class _Booked:
    """Ledger entries, each of which is taken by at most one reply."""

    def __init__(self, entries: Iterable[LedgerEntry]) -> None:
        self._left = {entry.entry_id: entry for entry in entries}
        self._by_generation = {
            attempt.generation_id: entry.entry_id
            for entry in self._left.values()
            for attempt in entry.attempts
            if attempt.generation_id
        }

    def take(self, row: TranscriptRow) -> LedgerEntry | None:
        """Return the entry of a reply, which no other reply gets; None if there is none."""
        entry = self._left.pop(row.request_id or "", None)
        if entry is None and (name := self._by_generation.get(row.message_id or "")):
            entry = self._left.pop(name, None)
        return entry

    def rest(self) -> Iterator[LedgerEntry]:
        """Yield the entries that were not taken."""
        yield from self._left.values()


def _price_reply(
    digest: SessionDigest, row: TranscriptRow, price_of: PriceOf, entry: LedgerEntry | None
) -> Iterator[CostItem]:
    at = parse_time(row.timestamp) or parse_time(digest.last_at or "")
    response = read_response(row)
    if at is None or response is None:
        return
    parts = _parts_of_reply(response, price_of) if entry is None else _parts_of_entry(entry)
    if entry is not None:
        cost = KnownCost(usd=entry.cost_usd)
    else:  # the usual reply is one ordinary call, which is priced already
        cost = response.cost(price_of) if row.billing else parts[0].cost
    yield CostItem(
        at=at if at.tzinfo is UTC else at.astimezone(UTC),
        session_id=digest.session_id,
        project=_label(digest.project),
        branch=row.branch,
        agent=row.agent or MAIN,
        parts=parts,
        cost=cost,
        is_booked=entry is not None,
    )


def _parts_of_reply(response: Response, price_of: PriceOf) -> tuple[CostPart, ...]:
    parts = [
        CostPart(model=call.name, tokens=call.tokens, cost=call.cost(price_of))
        for call in response.calls()
    ]
    if extras := response.extras():
        name = parts[0].model if parts else response.model or UNKNOWN_MODEL
        parts.append(CostPart(model=name, tokens=NO_TOKENS, cost=sum(extras, KnownCost())))
    return tuple(parts)


def _item_of_entry(entry: LedgerEntry, digest: SessionDigest) -> CostItem:
    labels = entry.attribution
    return CostItem(
        at=entry.started_at,
        session_id=digest.session_id,
        project=labels.project or _label(digest.project),
        branch=labels.branch,
        agent=labels.agent or MAIN,
        parts=_parts_of_entry(entry),
        cost=KnownCost(usd=entry.cost_usd),
        is_booked=True,
    )


def _parts_of_entry(entry: LedgerEntry) -> tuple[CostPart, ...]:
    return tuple(_part_of_attempt(attempt) for attempt in entry.attempts)


def _part_of_attempt(attempt: Attempt) -> CostPart:
    return CostPart(
        model=attempt.model,
        tokens=as_tokens(attempt.usage),
        cost=KnownCost(usd=attempt.cost_usd),
    )


@cache
def _label(folder: str | None) -> str | None:
    """Return the label that the ledger has for a folder's project; None without a folder."""
    return None if folder is None else project_label(Path(folder))
