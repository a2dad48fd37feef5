"""Packs starts and entries into few bytes: fields by position, ids and times in binary.

A packed body begins with the number of its form, a JSON body with `{`. What has no packed form (an
id of another kind) is written as JSON.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import fields
from decimal import Decimal
from functools import lru_cache
from importlib import resources
from operator import attrgetter
from struct import Struct
from typing import Any

import orjson
from devflow_core.attribution import Attribution
from devflow_core.ledger import Attempt, AttemptStart, LedgerEntry, ModelShare
from devflow_core.usage import Usage

from devflow_store.chain.times import from_us, to_us

PLAIN, DEFLATED = 1, 2
"""The forms: JSON and the decision follow the binary part as they are, or deflated together."""
MIN_DEFLATED_CHARS = 512
"""The shortest decision that is worth the 10 µs, and 15 more a kB, that deflating it takes."""
MAX_ATTEMPTS = 255
"""The most attempts of a packed entry."""
_Read = Callable[[object], tuple[Any, ...]]
_START = Struct("<B16s16sq")
"""The form, the ids of the attempt and its entry, and its start in microseconds since 1970."""
_ENTRY = Struct("<BB16sq3d")
"""The form, the number of attempts, the id, the arrival, and three times in seconds."""
_ATTEMPT = Struct("<16sq2d")
"""The id, the start in microseconds since 1970, and two times in seconds."""
_ID_BYTES = 16
_ID_LENGTH = len("req_") + 2 * _ID_BYTES
_NONE_S = -1.0
"""Stands for a time that was not measured; a real one is never negative."""
_WORDS = (
    "",
    "succeeded",
    "failed",
    "cancelled",
    "settled",
    "estimated",
    "observed",
    "void",
    "stop",
)
"""Words that are written as their places here; to be added to only at the end."""
_PLACES: dict[str | None, int] = {word: place for place, word in enumerate(_WORDS) if place}
_FIRST_LABELS = (
    *("session_id", "project", "client_key", "branch", "commit", "agent", "node"),
    "tags",
)
_LABELS = (
    *_FIRST_LABELS,
    *(one.name for one in fields(Attribution) if one.name not in _FIRST_LABELS),
)
"""The labels by place; one that is new stands behind all others, as `Attribution` has them."""
_COUNTS = (
    *("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"),
    *("reasoning_tokens", "cache_write_1h_tokens"),
)
_ATTEMPT_TEXTS = (
    *("provider", "generation_id", "key_id", "price_version", "error_code", "status"),
    *("cost_source", "cost_doubt", "check"),
)
_NOTHING: tuple[Any, ...] = (None,) * 20
_WINDOW_BITS, _MEMORY, _LEVEL = -14, 5, 2
"""For deflate: no header, a window of 16 kB, and small tables, since each body copies them."""
_read_labels: _Read = attrgetter(*_LABELS)
_read_counts: _Read = attrgetter(*_COUNTS)
_read_attempt_texts: _Read = attrgetter(*_ATTEMPT_TEXTS)


class NoPackedForm(Exception):
    """A value has no packed form."""


def is_packed(body: bytes) -> bool:
    """Return whether a body is packed; otherwise it is JSON."""
    return body[0] < ord("{")


def pack_start(start: AttemptStart) -> bytes:
    """Return the packed body of a start.

    Raises:
        NoPackedForm: an id is of another kind.
        orjson.JSONEncodeError: a label is not Unicode text.
    """
    at_us = to_us(start.started_at)
    head = _START.pack(
        PLAIN, _pack_id(start.attempt_id, "att_"), _pack_id(start.entry_id, "req_"), at_us
    )
    shares = start.may_serve
    values = [
        start.model,
        start.number,
        _text_of(start.reserved_usd),
        start.task_type,
        start.key_id,
        _pack_labels(start.attribution),
        _text_of(start.own_reserved_usd),
        [(one.model, _text_of(one.reserved_usd)) for one in shares] if shares else None,
        start.may_be_any or None,
        start.unpriced_reason or None,
    ]
    return head + orjson.dumps(_trim(values))


def unpack_start(body: bytes) -> AttemptStart:
    """Return the start of a packed body.

    Raises:
        ValueError, struct.error, LookupError, TypeError: the bytes are not such a body.
    """
    _form, attempt_id, entry_id, at_us = _START.unpack_from(body)
    values = orjson.loads(body[_START.size :])
    model, number, reserved, task_type, key_id, labels, own, shares, is_any, reason = (
        *values,
        *_NOTHING[len(values) : 10],
    )
    return AttemptStart(
        attempt_id=f"att_{attempt_id.hex()}",
        entry_id=f"req_{entry_id.hex()}",
        number=number,
        model=model,
        started_at=from_us(at_us),
        reserved_usd=_decimal_of(reserved),
        task_type=task_type,
        attribution=_unpack_labels(labels),
        key_id=key_id,
        own_reserved_usd=_decimal_of(own),
        may_serve=tuple(
            [ModelShare(model=one, reserved_usd=_decimal_of(usd)) for one, usd in shares or ()]
        ),
        may_be_any=bool(is_any),
        unpriced_reason=reason or "",
    )


def pack_entry(entry: LedgerEntry) -> bytes:
    """Return the packed body of an entry.

    Raises:
        NoPackedForm: an id is of another kind, or the attempts are too many.
        orjson.JSONEncodeError, UnicodeEncodeError: a label is not Unicode text.
    """
    attempts, decision = entry.attempts, entry.decision
    if len(attempts) > MAX_ATTEMPTS:
        raise NoPackedForm
    is_long = decision is not None and len(decision) >= MIN_DEFLATED_CHARS
    head = _ENTRY.pack(
        DEFLATED if is_long else PLAIN,
        len(attempts),
        _pack_id(entry.entry_id, "req_"),
        to_us(entry.started_at),
        _NONE_S if entry.ttft_s is None else entry.ttft_s,
        entry.total_s,
        entry.overhead_s,
    )
    requested = entry.requested_model
    values = [
        requested,
        _PLACES.get(entry.outcome, entry.outcome),
        entry.task_type,
        entry.complexity,
        _pack_labels(entry.attribution),
        [_pack_attempt(one, place, requested) for place, one in enumerate(attempts, 1)],
        entry.error_code,
        entry.is_cache_hit or None,
    ]
    tail = orjson.dumps(_trim(values))
    if decision is not None:
        tail = b"%b\n%b" % (tail, decision.encode())  # JSON holds no line break
    if is_long:
        tail = _deflate(tail)
    return b"".join((head, *[_pack_attempt_times(one) for one in attempts], tail))


def unpack_entry(body: bytes) -> LedgerEntry:
    """Return the entry of a packed body.

    Raises:
        ValueError, struct.error, zlib.error, LookupError, TypeError: the bytes are no such body.
    """
    form, count, entry_id, at_us, ttft_s, total_s, overhead_s = _ENTRY.unpack_from(body)
    end = _ENTRY.size + count * _ATTEMPT.size
    tail = bytes(body[end:])
    tail, has_decision, decision = (_inflate(tail) if form == DEFLATED else tail).partition(b"\n")
    values = orjson.loads(tail)
    requested, outcome, task, complexity, labels, attempts, error, is_hit = (
        *values,
        *_NOTHING[len(values) : 8],
    )
    times = _ATTEMPT.iter_unpack(body[_ENTRY.size : end])
    return LedgerEntry(
        entry_id=f"req_{entry_id.hex()}",
        started_at=from_us(at_us),
        requested_model=requested,
        outcome=_word_of(outcome),
        attempts=tuple(
            [
                _unpack_attempt(one, measured, place, requested)
                for place, (one, measured) in enumerate(zip(attempts, times, strict=True), 1)
            ]
        ),
        task_type=task,
        complexity=complexity,
        attribution=_unpack_labels(labels),
        error_code=error,
        ttft_s=None if ttft_s == _NONE_S else ttft_s,
        total_s=total_s,
        overhead_s=overhead_s,
        is_cache_hit=bool(is_hit),
        decision=decision.decode() if has_decision else None,
    )


def _pack_attempt_times(attempt: Attempt) -> bytes:
    return _ATTEMPT.pack(
        _pack_id(attempt.attempt_id, "att_"),
        to_us(attempt.started_at),
        _NONE_S if attempt.ttft_s is None else attempt.ttft_s,
        attempt.total_s,
    )


def _pack_attempt(attempt: Attempt, place: int, requested: str) -> list[Any]:
    """Return the other values of an attempt, the rare ones last."""
    cost, text = str(attempt.cost_usd), attempt.cost_text
    counts = list(_read_counts(attempt.usage))
    while counts and not counts[-1]:
        counts.pop()
    values = [
        None if attempt.model == requested else attempt.model,
        None if attempt.number == place else attempt.number,
        _PLACES.get(attempt.outcome, attempt.outcome),
        _PLACES.get(attempt.cost_status, attempt.cost_status),
        cost,
        1 if text == cost else text,
        counts,
        _text_of(attempt.reserved_usd),
        _PLACES.get(attempt.finish_reason, attempt.finish_reason),
        *_read_attempt_texts(attempt),
        attempt.is_usage_estimated or None,
        _text_of(attempt.observed_usd),
    ]
    return _trim(values)


def _unpack_attempt(
    packed: list[Any], measured: tuple[bytes, int, float, float], place: int, requested: str
) -> Attempt:
    attempt_id, at_us, ttft_s, total_s = measured
    values = (*packed, *_NOTHING[len(packed) : 20])
    model, number, outcome, cost_status, cost, text, counts, reserved, finish = values[:9]
    provider, generation_id, key_id, version, error, status, source, doubt, check = values[9:18]
    return Attempt(
        attempt_id=f"att_{attempt_id.hex()}",
        number=place if number is None else number,
        model=requested if model is None else model,
        started_at=from_us(at_us),
        outcome=_word_of(outcome),
        cost_status=_word_of(cost_status),
        cost_usd=Decimal(cost),
        cost_text=cost if text == 1 else text,
        cost_source=source,
        cost_doubt=doubt,
        observed_usd=_decimal_of(values[19]),
        usage=Usage(**dict(zip(_COUNTS, counts, strict=False))),
        is_usage_estimated=bool(values[18]),
        provider=provider,
        generation_id=generation_id,
        finish_reason=_word_of(finish),
        error_code=error,
        status=status,
        ttft_s=None if ttft_s == _NONE_S else ttft_s,
        total_s=total_s,
        key_id=key_id,
        price_version=version,
        reserved_usd=_decimal_of(reserved),
        check=check,
    )


def _pack_labels(labels: Attribution) -> list[Any]:
    found = _read_labels(labels)
    return _trim([one if isinstance(one, str) else dict(one or ()) or None for one in found])


def _unpack_labels(packed: list[Any]) -> Attribution:
    named = zip(_LABELS, packed or (), strict=False)
    return Attribution(**{name: one for name, one in named if one is not None})


def _pack_id(text: str, prefix: str) -> bytes:
    """Return the 16 bytes of an id that `new_id` has made.

    Raises:
        NoPackedForm: it is another kind of id.
    """
    if not text.startswith(prefix) or not text.islower():
        raise NoPackedForm
    try:
        packed = bytes.fromhex(text[len(prefix) :])
    except ValueError:
        raise NoPackedForm from None
    if len(packed) != _ID_BYTES or len(text) != _ID_LENGTH:
        raise NoPackedForm
    return packed


def _trim(values: list[Any]) -> list[Any]:
    """Remove the Nones at the end."""
    while values and values[-1] is None:
        values.pop()
    return values


def _word_of(value: Any) -> Any:
    return _WORDS[value] if isinstance(value, int) else value


def _text_of(usd: Decimal | None) -> str | None:
    return None if usd is None else str(usd)


def _decimal_of(text: Any) -> Decimal | None:
    return None if text is None else Decimal(text)


def _deflate(content: bytes) -> bytes:
    work = _load_deflater().copy()
    return work.compress(content) + work.flush()


def _inflate(content: bytes) -> bytes:
    work = zlib.decompressobj(_WINDOW_BITS, zdict=_load_phrases())
    return work.decompress(content) + work.flush()


@lru_cache(maxsize=1)
def _load_deflater() -> Any:
    """Return a compressor that knows the phrases; a copy of it takes 3 µs, a new one 15."""
    return zlib.compressobj(
        _LEVEL, zlib.DEFLATED, _WINDOW_BITS, _MEMORY, zlib.Z_DEFAULT_STRATEGY, _load_phrases()
    )


@lru_cache(maxsize=1)
def _load_phrases() -> bytes:
    """Return the text that decisions are likely to repeat; it may never change."""
    return (resources.files("devflow_store.chain") / "phrases.1.txt").read_bytes()
