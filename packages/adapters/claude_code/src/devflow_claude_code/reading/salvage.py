"""What can be read of a damaged line: records glued together, with cut ones and filler between."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from devflow_claude_code.reading.rows import Json, decode_line

_FILLER = b"\0 \t\r\n,[]\xef\xbb\xbf"
"""Bytes that stand between records without being part of one: zeros of a lost page, a BOM."""
_OBJECT_START = re.compile(r'\{\s*"')
_MAX_PASSES = 8
"""So many times a line is looked at from end to end, lest braces that never close cost a day."""
_ATTEMPT_COST_CHARS = 1_000
_MIN_WORK_CHARS = 2_000_000
_DECODER = json.JSONDecoder()


class SalvagedRecord(NamedTuple):
    """A whole record within a line."""

    start: int
    end: int
    body: Json


def is_filler(piece: bytes) -> bool:
    """Whether nothing was lost with these bytes."""
    return not piece.strip(_FILLER)


def find_records(line: bytes) -> list[SalvagedRecord]:
    """All whole records of a line that is not one record, in order.

    Behind something that was cut an object may be part of it, so that there only what has the
    fields of a row of its own is taken. Quoted text is never taken for a record: its quotation
    marks are escaped.
    """
    text = line.decode("latin-1")  # a character is a byte, and JSON's own marks are ASCII
    work_left = _MAX_PASSES * len(text) + _MIN_WORK_CHARS
    found: list[SalvagedRecord] = []
    position = end = 0
    while work_left > 0 and (match := _OBJECT_START.search(text, position)):
        start = match.start()
        stop = _find_end(text, start)
        work_left -= abs(stop) - start + _ATTEMPT_COST_CHARS
        body = decode_line(line[start:stop]) if stop > start else None
        is_whole = body is not None and (is_filler(line[end:start]) or _is_row(body))
        if body is not None and is_whole:
            found.append(SalvagedRecord(start, stop, body))
            end = stop
        position = stop if is_whole else start + 1
    return found


def _find_end(text: str, start: int) -> int:
    """Where the object ends; where it proved to be none, as a negative number."""
    try:
        return _DECODER.raw_decode(text, start)[1]
    except json.JSONDecodeError as error:
        return -error.pos
    except RecursionError:
        return -len(text)


def _is_row(body: Json) -> bool:
    kind = body.get("type")
    if not isinstance(kind, str):
        return False
    is_linked = "parentUuid" in body and isinstance(body.get("uuid"), str)
    return is_linked or isinstance(body.get("sessionId" if kind != "summary" else "leafUuid"), str)
