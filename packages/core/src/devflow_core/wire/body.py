"""Parses JSON: strictly what clients send, leniently what providers send."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, cast

import orjson

from devflow_core.errors import InvalidRequest, ProtocolError
from devflow_core.messages import JsonObject
from devflow_core.safe_text import excerpt
from devflow_core.wire.sse import SseFrame
from devflow_core.wire.sse import encode as encode_event

MAX_DEPTH = 64
"""The most levels of objects and arrays in a request; recorded agents' requests need 14."""

_PIECE_BYTES = 256 * 1024
_CONTAINERS = frozenset({dict, list})
_MODEL_KEY = re.compile(rb'"model"\s*:\s*(?![{\s])')


def parse_body(
    body: bytes, *, max_depth: int = MAX_DEPTH, max_values: int | None = None
) -> JsonObject:
    """Parse a client's request body.

    Args:
        body: the body as received; the server has limited its size.
        max_depth: the deepest nesting, inclusive.
        max_values: the most values of any kind, inclusive; checked before any is created. None
            checks nothing.

    Raises:
        InvalidRequest: the body is not a JSON object in UTF-8, is nested too deeply, has too many
            values, or has `model` twice at the top (two readers would see two models).
        MemoryError: there is no memory for the parsed body.
    """
    if max_values is not None and _has_more_values(body, max_values):
        raise InvalidRequest(
            f"The request body holds more than {max_values:,} JSON values: send fewer, larger ones."
        )
    try:
        parsed: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if (
            "memory" in error.msg
        ):  # about our memory, not about the text  # pragma: no cover - by a real limit
            raise MemoryError from None
        # the parser's message holds a position and no text of the body
        raise InvalidRequest(f"The request body is not valid JSON: {error.msg}.") from None
    if not isinstance(parsed, dict):
        raise InvalidRequest("The request body must be a JSON object.")
    value = cast("dict[str, Any]", parsed)
    _check_depth(value, max_depth)
    if len(_MODEL_KEY.findall(body)) > 1 and _has_two_models(body):
        raise InvalidRequest("model: the key stands twice in the request body; send it once.")
    return value


def dump(value: JsonObject) -> bytes:
    """Return the JSON as bytes on one line."""
    return orjson.dumps(value)


def load_event(data: bytes) -> dict[str, Any]:
    """Parse the JSON object of a provider's event; bytes that are not UTF-8 become U+FFFD.

    Raises:
        ProtocolError: the data is not a JSON object.
    """
    try:
        parsed: Any = orjson.loads(data)
    except orjson.JSONDecodeError:
        parsed = _load_repaired(data)
    return _require_object(parsed, data)


def load_frame(frame: SseFrame) -> tuple[dict[str, Any] | None, SseFrame]:
    """Parse a frame's JSON object; return the object and the frame.

    The object is None if the end of the stream cut it off. A frame that had to be repaired is
    returned with the repaired text for its next reader: clients refuse `NaN` and bytes that are not
    UTF-8.

    Raises:
        ProtocolError: the data is not a JSON object.
    """
    data = frame.data or b""
    try:
        return _require_object(orjson.loads(data), data), frame
    except orjson.JSONDecodeError:
        parsed = _load_repaired(data)
    if parsed is None and frame.is_cut:
        return None, frame
    body = _require_object(parsed, data)
    return body, frame._replace(raw=encode_repaired(body, frame))


def encode_repaired(body: JsonObject, frame: SseFrame) -> bytes:
    """Return an event with this body and the frame's name; the frame's other lines are dropped."""
    return encode_event(_dump_repaired(body), frame.event)


def _require_object(parsed: object, data: bytes) -> dict[str, Any]:
    if not isinstance(parsed, dict):
        raise ProtocolError(
            f"The provider sent an event that is not a JSON object: {excerpt(data)!r}."
            " Ask again, or ask another model."
        )
    return cast("dict[str, Any]", parsed)


def _load_repaired(data: bytes) -> object:
    """Parse invalid JSON that providers send: bad UTF-8, halves of surrogate pairs, NaN.

    None if it is invalid in any other way.
    """
    try:
        # NaN and Infinity become null
        found = json.loads(data.decode(errors="replace"), parse_constant=lambda _: None)
        lenient = json.dumps(found, ensure_ascii=False)
    except (ValueError, RecursionError):
        return None
    return json.loads(lenient.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def _dump_repaired(value: object) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # a whole number of more than 64 bits, which is valid JSON
        return json.dumps(value, ensure_ascii=False).encode()


def _has_more_values(body: bytes, most: int) -> bool:
    """Return whether a JSON text has more values than `most`; the size mostly settles it."""
    if len(body) <= 2 * most or _count_separators(body) < most:
        return False
    return count_values(body, most) > most


def count_values(body: bytes, most: int | None = None, piece_bytes: int = _PIECE_BYTES) -> int:
    """Count the values of a JSON text; an empty container counts as if it held one.

    It counts the commas and opening brackets outside strings, and scans the text in pieces small
    enough to let other threads run in between.

    Args:
        body: a JSON text; for any other text the count is arbitrary.
        most: counting may stop as soon as the count is above this; None counts to the end.
        piece_bytes: the size of a piece.
    """
    count, is_in_string, at = 0, False, 0
    while at < len(body) and (most is None or count <= most):
        piece = body[at : at + piece_bytes]
        at += len(piece)
        if (len(piece) - len(piece.rstrip(b"\\"))) % 2:  # an escape is cut in two
            piece += body[at : at + 1]
            at += 1
        parts = piece.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        count += _count_separators(b"".join(parts[is_in_string::2]))
        is_in_string ^= len(parts) % 2 == 0
    return count


def _count_separators(text: bytes) -> int:
    return text.count(b",") + text.count(b"[") + text.count(b"{")


def _check_depth(root: dict[str, Any], max_depth: int) -> None:
    level: list[Any] = [root]
    for _ in range(max_depth):
        level = [child for one in level for child in _children(one) if type(child) in _CONTAINERS]
        if not level:
            return
    raise InvalidRequest(f"The request body is nested deeper than {max_depth} levels.")


def _children(container: Any) -> Iterable[Any]:
    return cast("dict[str, Any]", container).values() if type(container) is dict else container


def _has_two_models(body: bytes) -> bool:
    """Return whether the top object has more than one `model` key, by renaming each in turn."""
    head, *tail = _MODEL_KEY.split(body)
    renamed = head + b"".join(
        b'"model %d":%b' % (number, piece) for number, piece in enumerate(tail)
    )
    top: dict[str, Any] = orjson.loads(renamed)
    return sum(key.startswith("model ") and key[6:].isdigit() for key in top) > 1
