"""Encodes core's values as the bodies of chain rows, and decodes them without loss."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum

import orjson
from devflow_core.errors import InvalidRequest
from devflow_core.ledger import Attempt, AttemptStart, LedgerEntry
from devflow_core.usage import Usage
from pydantic import TypeAdapter

from devflow_store.chain.packing import (
    NoPackedForm,
    is_packed,
    pack_entry,
    pack_start,
    unpack_entry,
    unpack_start,
)


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


_NOT_UNICODE = (orjson.JSONEncodeError, UnicodeEncodeError)
_ENTRY_ADAPTER = TypeAdapter(LedgerEntry)
_START_ADAPTER = TypeAdapter(StartRecord)
_CORRECTION_ADAPTER = TypeAdapter(Correction)


def encode_start(start: AttemptStart, ended: tuple[Attempt, ...] = ()) -> bytes:
    """Return the body of a `START`, packed unless earlier attempts have ended.

    Raises:
        InvalidRequest: a label is not Unicode text, as a path with arbitrary bytes may be.
    """
    try:
        if not ended:
            return pack_start(start)
    except NoPackedForm:
        pass
    except _NOT_UNICODE as error:
        raise _refusal_of(error) from error
    return encode_record(StartRecord(start=start, ended=ended))


def encode_entry(entry: LedgerEntry) -> bytes:
    """Return the body of an `ENTRY`, packed; raises the errors of `encode_start`."""
    try:
        return pack_entry(entry)
    except NoPackedForm:
        return encode_record(entry)
    except _NOT_UNICODE as error:
        raise _refusal_of(error) from error


def encode_record(value: LedgerEntry | StartRecord | Correction) -> bytes:
    """Return the value as JSON; decimals are exact text, and times keep their microseconds.

    Raises:
        InvalidRequest: a label is not Unicode text, as a path with arbitrary bytes may be.
    """
    try:
        return orjson.dumps(value, default=_decimal_text)
    except _NOT_UNICODE as error:
        raise _refusal_of(error) from error


def decode_entry(body: bytes) -> LedgerEntry:
    """Decode the body of an `ENTRY` or a `REPLACEMENT`.

    Raises:
        ValueError, struct.error, zlib.error, LookupError, TypeError: the bytes are not an entry.
    """
    return unpack_entry(body) if is_packed(body) else _ENTRY_ADAPTER.validate_json(body)


def decode_start(body: bytes) -> StartRecord:
    """Decode the body of a `START`; raises the errors of `decode_entry`."""
    if is_packed(body):
        return StartRecord(start=unpack_start(body))
    return _START_ADAPTER.validate_json(body)


def decode_correction(body: bytes) -> Correction:
    """Decode the body of a `CORRECTION`.

    Raises:
        pydantic.ValidationError: the bytes are not such a body.
    """
    return _CORRECTION_ADAPTER.validate_json(body)


def _refusal_of(error: Exception) -> InvalidRequest:
    return InvalidRequest(
        f"A label of the request (session, project, branch…) cannot be written: {error}."
    )


def _decimal_text(value: object) -> str:
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"a row of the ledger cannot hold {type(value).__name__}")
