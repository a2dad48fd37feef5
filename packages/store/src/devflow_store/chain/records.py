"""Encodes core's values as the JSON bodies of chain rows, and decodes them without loss."""

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
"""The time that microseconds are counted from."""
_MICROSECOND = timedelta(microseconds=1)


class RowKind(IntEnum):
    """The kind of a chain row."""

    START = 1
    """An attempt is about to be sent."""
    ENTRY = 2
    """A request has ended, with all its attempts."""
    CORRECTION = 3
    """The confirmed cost of an attempt; `ref` is the row of its entry."""
    REPLACEMENT = 4
    """The true entry of a request that was written off as lost; `ref` is the old row."""
    ERASURE = 5
    """The numbers of rows whose bodies were erased."""
    CHANGE = 6
    """A budget, a client key, a node or the ledger's upstream was set, or one was removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRecord:
    """The body of a `START`: the attempt, and the ends of earlier attempts."""

    start: AttemptStart
    ended: tuple[Attempt, ...] = ()
    """Earlier attempts of the same request that have ended by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """The body of a `CORRECTION`: the final cost of an attempt."""

    attempt_id: str
    cost_usd: Decimal
    cost_text: str | None = None
    """The provider's own decimal text; None if there is none."""
    usage: Usage | None = None
    """The confirmed counts; None keeps the earlier ones."""
    provider: str | None = None
    """The provider that answered; None keeps what is known."""
    generation_id: str | None = None
    """The provider's id of the call; None keeps what is known."""
    source: str = "generation"
    """The origin of the figure: `generation`, `total of` a date, `observed` or `reserved`.

    A person who confirms a cost may name any other source.
    """


_ENTRY_ADAPTER = TypeAdapter(LedgerEntry)
_START_ADAPTER = TypeAdapter(StartRecord)
_CORRECTION_ADAPTER = TypeAdapter(Correction)


def encode_record(value: LedgerEntry | StartRecord | Correction) -> bytes:
    """Return the value as JSON; decimals are exact text, and times keep their microseconds.

    Raises:
        InvalidRequest: a label is not Unicode text, as a path with arbitrary bytes may be.
    """
    try:
        return orjson.dumps(value, default=_decimal_text)
    except orjson.JSONEncodeError as error:
        raise InvalidRequest(
            f"A label of the request (session, project, branch…) cannot be written: {error}."
        ) from error


def decode_entry(body: bytes) -> LedgerEntry:
    """Decode the body of an `ENTRY` or a `REPLACEMENT`.

    Raises:
        pydantic.ValidationError: the bytes are not an entry.
    """
    return _ENTRY_ADAPTER.validate_json(body)


def decode_start(body: bytes) -> StartRecord:
    """Decode the body of a `START`.

    Raises:
        pydantic.ValidationError: the bytes are not such a body.
    """
    return _START_ADAPTER.validate_json(body)


def decode_correction(body: bytes) -> Correction:
    """Decode the body of a `CORRECTION`.

    Raises:
        pydantic.ValidationError: the bytes are not such a body.
    """
    return _CORRECTION_ADAPTER.validate_json(body)


def to_us(at: datetime) -> int:
    """Return a time as microseconds since 1970, exactly."""
    return (at - EPOCH) // _MICROSECOND


def from_us(at_us: int) -> datetime:
    """Return microseconds since 1970 as a time in UTC."""
    return EPOCH + timedelta(microseconds=at_us)


def _decimal_text(value: object) -> str:
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"a row of the ledger cannot hold {type(value).__name__}")
