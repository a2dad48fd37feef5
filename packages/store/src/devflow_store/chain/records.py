"""What a row of the chain holds: core's values as JSON, and back again, equal."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import IntEnum

import orjson
from devflow_core.errors import InvalidRequest
from devflow_core.ledger import Attempt, AttemptStart, LedgerEntry
from devflow_core.usage import Usage
from pydantic import TypeAdapter

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class RowKind(IntEnum):
    """What a row of the chain says."""

    START = 1
    """An attempt is about to be sent."""
    ENTRY = 2
    """A request is over, with the end of each of its attempts."""
    CORRECTION = 3
    """An attempt's confirmed cost; `ref` is the row of its entry."""
    REPLACEMENT = 4
    """The true entry of a request that had been written off as lost; `ref` is the old row."""
    ERASURE = 5
    """The rows whose bodies were deleted, and what they had cost."""
    CHANGE = 6
    """A budget, a client key or a node was set or removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRecord:
    """The body of a `START`: the attempt, and the ends of those before it."""

    start: AttemptStart
    ended: tuple[Attempt, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """The body of a `CORRECTION`: what an attempt has cost after all."""

    attempt_id: str
    cost_usd: Decimal
    cost_text: str | None = None
    """The provider's own decimal text."""
    usage: Usage | None = None
    """None: the counts stand as they were."""
    provider: str | None = None
    generation_id: str | None = None
    source: str = "generation"
    """Where the figure is from: `generation`, `total of 2026-11-30`, `observed`, `reserved`; what a
    person confirms may name anything else."""


_ENTRY_ADAPTER = TypeAdapter(LedgerEntry)
_START_ADAPTER = TypeAdapter(StartRecord)
_CORRECTION_ADAPTER = TypeAdapter(Correction)


def encode_record(value: LedgerEntry | StartRecord | Correction) -> bytes:
    """The value as JSON; decimals are text, digit for digit, and times keep their microseconds.

    Raises:
        InvalidRequest: a label is no Unicode text, as a path with stray bytes may be.
    """
    try:
        return orjson.dumps(value, default=_decimal_text)
    except orjson.JSONEncodeError as error:
        raise InvalidRequest(
            f"A label of the request (session, project, branch…) cannot be written: {error}."
        ) from error


def decode_entry(body: bytes) -> LedgerEntry:
    """The entry that was encoded.

    Raises:
        pydantic.ValidationError: when the bytes are no entry.
    """
    return _ENTRY_ADAPTER.validate_json(body)


def decode_start(body: bytes) -> StartRecord:
    """The start that was encoded; raises as `decode_entry`."""
    return _START_ADAPTER.validate_json(body)


def decode_correction(body: bytes) -> Correction:
    """The correction that was encoded; raises as `decode_entry`."""
    return _CORRECTION_ADAPTER.validate_json(body)


def to_us(at: datetime) -> int:
    """A time as microseconds since 1970, exactly."""
    return (at - EPOCH) // _MICROSECOND


def from_us(at_us: int) -> datetime:
    """Microseconds since 1970 as UTC."""
    return EPOCH + timedelta(microseconds=at_us)


def _decimal_text(value: object) -> str:
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"a row of the ledger cannot hold {type(value).__name__}")
