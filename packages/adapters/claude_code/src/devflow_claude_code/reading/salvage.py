"""Salvages the records of a damaged line: glued together, cut off, or mixed with filler bytes."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from devflow_claude_code.reading.rows import Json, decode_line

_FILLER = b"\0 \t\r\n,[]\xef\xbb\xbf"
"""Bytes between records that belong to none of them: zeros of a lost page, a BOM."""
_OBJECT_START = re.compile(r'\{\s*"')
_MAX_PASSES = 8
"""The most passes over a line, in case its braces never close."""
# Each attempt costs at least this much of the budget, so that many tiny attempts are bounded too;
# short lines get _MIN_WORK_CHARS in any case.
_ATTEMPT_COST_CHARS = 1_000
_MIN_WORK_CHARS = 2_000_000
_DECODER = json.JSONDecoder()


class SalvagedRecord(NamedTuple):
    """A complete record within a line."""

    start: int
    """The position in the line, in bytes."""
    end: int
    """The position after its last byte."""
    body: Json


def is_filler(piece: bytes) -> bool:
    """Return whether these bytes are only filler, so that dropping them loses nothing."""
    return not piece.strip(_FILLER)


def find_records(line: bytes) -> list[SalvagedRecord]:
    """Return the complete records in a damaged line, in order; [] if there are none.

    After a cut-off record, an object may be a fragment of it, so only objects with the fields of
    a transcript row are accepted there. Quoted text is never mistaken for a record, since its
    quotation marks are escaped.
    """
    text = line.decode("latin-1")  # one character per byte; JSON's syntax is ASCII
    work_left = _MAX_PASSES * len(text) + _MIN_WORK_CHARS
    found: list[SalvagedRecord] = []
    position = end = 0
    while work_left > 0 and (match := _OBJECT_START.search(text, position)):
        start = match.start()
        stop = _find_end(text, start)
        work_left -= abs(stop) - start + _ATTEMPT_COST_CHARS
        body = decode_line(line[start:stop]) if stop > start else None
        # after garbage, an object may be a fragment of a cut record: only whole rows are safe
        is_whole = body is not None and (is_filler(line[end:start]) or _is_row(body))
        if body is not None and is_whole:
            found.append(SalvagedRecord(start, stop, body))
            end = stop
        position = stop if is_whole else start + 1
    return found


def _find_end(text: str, start: int) -> int:
    """Return the end of the object; if it is not one, the position of the error, negated."""
    try:
        return _DECODER.raw_decode(text, start)[1]
    except json.JSONDecodeError as error:
        # how far the decoder read: this much of the budget is spent
        return -error.pos
    except RecursionError:
        return -len(text)


def _is_row(body: Json) -> bool:
    kind = body.get("type")
    if not isinstance(kind, str):
        return False
    is_linked = "parentUuid" in body and isinstance(body.get("uuid"), str)
    return is_linked or isinstance(body.get("sessionId" if kind != "summary" else "leafUuid"), str)
