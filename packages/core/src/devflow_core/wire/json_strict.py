"""Reads typed values out of a client's JSON, or raises an error that names the path."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

from devflow_core.errors import InvalidRequest
from devflow_core.messages import CacheTtl, JsonObject
from devflow_core.wire import json_lenient as lenient

_T = TypeVar("_T")
_MAX_TOKENS = 10**9


def invalid_value(path: str, what: str) -> InvalidRequest:
    """Return the error for an invalid value, which names its path (`messages.3.content`)."""
    return InvalidRequest(f"{path}: {what}")


def nothing_left() -> InvalidRequest:
    """Return the error for a request whose messages hold nothing the other dialect can express."""
    return invalid_value("messages", "nothing is left that this provider understands")


def json_object(value: object, path: str) -> JsonObject:
    """Return the value if it is a JSON object; raise `InvalidRequest` otherwise."""
    if not isinstance(value, dict):
        raise invalid_value(path, "must be an object")
    return cast("JsonObject", value)


def array(value: object, path: str) -> list[Any]:
    """Return the value if it is a JSON array; raise `InvalidRequest` otherwise."""
    if not isinstance(value, list):
        raise invalid_value(path, "must be an array")
    return cast("list[Any]", value)


def text(value: object, path: str) -> str:
    """Return the value if it is a string; raise `InvalidRequest` otherwise."""
    if not isinstance(value, str):
        raise invalid_value(path, "must be a string")
    return value


def name(value: object, path: str) -> str:
    """Return a non-empty string without control characters; raise `InvalidRequest` otherwise."""
    string = text(value, path)
    if not string or not string.isprintable():
        raise invalid_value(path, "must be a non-empty string without control characters")
    return string


def boolean(value: object, path: str) -> bool:
    """Return the value if it is a boolean; raise `InvalidRequest` otherwise."""
    if not isinstance(value, bool):
        raise invalid_value(path, "must be true or false")
    return value


def integer(value: object, path: str) -> int:
    """Return the value if it is a whole number; raise `InvalidRequest` otherwise."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise invalid_value(path, "must be a whole number")
    return value


def token_count(value: object, path: str) -> int:
    """Return a number of tokens from 1 to 10⁹; raise `InvalidRequest` for any other value."""
    count = integer(value, path)
    if not 1 <= count <= _MAX_TOKENS:
        raise invalid_value(path, f"must be between 1 and {_MAX_TOKENS}")
    return count


def number(value: object, path: str) -> float:
    """Return the value if it is a number; raise `InvalidRequest` otherwise."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid_value(path, "must be a number")
    return value


def optional(
    body: JsonObject, key: str, read: Callable[[object, str], _T], path: str = ""
) -> _T | None:
    """Return the value of a key, as `read` returns it; None if it is missing or null.

    Raises:
        InvalidRequest: `read` refuses the value; the message names the path of the key.
    """
    value = body.get(key)
    return None if value is None else read(value, f"{path}.{key}" if path else key)


def required(body: JsonObject, key: str, read: Callable[[object, str], _T], path: str = "") -> _T:
    """Return the value of a key, as `read` returns it.

    Raises:
        InvalidRequest: it is missing or null, or `read` refuses it; the message names its path.
    """
    where = f"{path}.{key}" if path else key
    if body.get(key) is None:
        raise invalid_value(where, "is required")
    return read(body[key], where)


def arguments(body: JsonObject, key: str, path: str) -> str:
    """Return a call's arguments as JSON text, even if given as an object; empty if missing.

    Raises:
        InvalidRequest: they are neither text nor an object or array.
    """
    return lenient.as_arguments(body.get(key)) or optional(body, key, text, path) or ""


def objects(body: JsonObject, key: str, path: str = "") -> list[tuple[JsonObject, str]]:
    """Return the objects of an array, each with its path; empty if the key is missing.

    Raises:
        InvalidRequest: the value is not an array, or one of its items is not an object.
    """
    where = f"{path}.{key}" if path else key
    items = optional(body, key, array, path) or []
    return [
        (json_object(item, f"{where}.{index}"), f"{where}.{index}")
        for index, item in enumerate(items)
    ]


def read_cache_ttl(body: JsonObject) -> CacheTtl | None:
    """Return how long a part is to be cached, by its `cache_control`; None without one."""
    control = body.get("cache_control")
    if not isinstance(control, dict):
        return None
    return "1h" if cast("JsonObject", control).get("ttl") == "1h" else "5m"


def cache_control(ttl: CacheTtl | None) -> JsonObject:
    """Return the field that marks a part to be cached; empty if it is not to be."""
    if ttl is None:
        return {}
    return {"cache_control": {"type": "ephemeral", **({"ttl": ttl} if ttl == "1h" else {})}}


def omit_keys(body: JsonObject, known: Iterable[str]) -> JsonObject:
    """Return a copy of the body without the known keys."""
    remaining = dict(body)
    for key in known:
        remaining.pop(key, None)
    return remaining


def drop_none(**fields: object) -> dict[str, Any]:
    """Return the fields that are not None."""
    return {key: value for key, value in fields.items() if value is not None}


def requested_model(body: JsonObject) -> str:
    """Return the requested model: `model`, otherwise the first of `models`, otherwise `auto`.

    Raises:
        InvalidRequest: it is not a non-empty string without control characters.
    """
    model = optional(body, "model", name)
    if model is not None:
        return model
    models: object = body.get("models")
    first = next(iter(cast("list[object]", models)), None) if isinstance(models, list) else models
    return "auto" if first is None else name(first, "models.0")
