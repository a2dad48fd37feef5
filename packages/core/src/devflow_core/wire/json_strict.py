"""Read typed values out of a caller's JSON, or say what is wrong and where."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

from devflow_core.errors import InvalidRequest
from devflow_core.messages import CacheTtl, JsonObject
from devflow_core.wire import json_lenient as lenient

_T = TypeVar("_T")
_MAX_TOKENS = 10**9


def invalid_value(path: str, what: str) -> InvalidRequest:
    """The error for a value that cannot be used, named by its path (`messages.3.content`)."""
    return InvalidRequest(f"{path}: {what}")


def nothing_left() -> InvalidRequest:
    """The error for a request of whose messages another wire can say nothing."""
    return invalid_value("messages", "nothing is left that this provider understands")


def json_object(value: object, path: str) -> JsonObject:
    """A JSON object."""
    if not isinstance(value, dict):
        raise invalid_value(path, "must be an object")
    return cast("JsonObject", value)


def array(value: object, path: str) -> list[Any]:
    """A JSON array."""
    if not isinstance(value, list):
        raise invalid_value(path, "must be an array")
    return cast("list[Any]", value)


def text(value: object, path: str) -> str:
    """A string."""
    if not isinstance(value, str):
        raise invalid_value(path, "must be a string")
    return value


def name(value: object, path: str) -> str:
    """A string that is not empty and has no control characters."""
    string = text(value, path)
    if not string or not string.isprintable():
        raise invalid_value(path, "must be a non-empty string without control characters")
    return string


def boolean(value: object, path: str) -> bool:
    """A boolean."""
    if not isinstance(value, bool):
        raise invalid_value(path, "must be true or false")
    return value


def integer(value: object, path: str) -> int:
    """A whole number."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise invalid_value(path, "must be a whole number")
    return value


def token_count(value: object, path: str) -> int:
    """A number of tokens of at least 1."""
    count = integer(value, path)
    if not 1 <= count <= _MAX_TOKENS:
        raise invalid_value(path, f"must be between 1 and {_MAX_TOKENS}")
    return count


def number(value: object, path: str) -> float:
    """A number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid_value(path, "must be a number")
    return value


def optional(
    body: JsonObject, key: str, read: Callable[[object, str], _T], path: str = ""
) -> _T | None:
    """The value of a key; None when it is missing or null."""
    value = body.get(key)
    return None if value is None else read(value, f"{path}.{key}" if path else key)


def required(body: JsonObject, key: str, read: Callable[[object, str], _T], path: str = "") -> _T:
    """The value of a key that must be there."""
    where = f"{path}.{key}" if path else key
    if body.get(key) is None:
        raise invalid_value(where, "is required")
    return read(body[key], where)


def arguments(body: JsonObject, key: str, path: str) -> str:
    """Arguments of a call as JSON text, also where they stand there as an object; empty if none."""
    return lenient.as_arguments(body.get(key)) or optional(body, key, text, path) or ""


def objects(body: JsonObject, key: str, path: str = "") -> list[tuple[JsonObject, str]]:
    """The objects of an array, each with its path; empty when the key is missing."""
    where = f"{path}.{key}" if path else key
    items = optional(body, key, array, path) or []
    return [
        (json_object(item, f"{where}.{index}"), f"{where}.{index}")
        for index, item in enumerate(items)
    ]


def read_cache_ttl(body: JsonObject) -> CacheTtl | None:
    """The length of life of a cache marker: of `cache_control`, where there is one."""
    control = body.get("cache_control")
    if not isinstance(control, dict):
        return None
    return "1h" if cast("JsonObject", control).get("ttl") == "1h" else "5m"


def cache_control(ttl: CacheTtl | None) -> JsonObject:
    """The field to merge into a part that is to be cached; empty for one that is not."""
    if ttl is None:
        return {}
    return {"cache_control": {"type": "ephemeral", **({"ttl": ttl} if ttl == "1h" else {})}}


def omit_keys(body: JsonObject, known: Iterable[str]) -> JsonObject:
    """The fields that have no word of ours."""
    remaining = dict(body)
    for key in known:
        remaining.pop(key, None)
    return remaining


def drop_none(**fields: object) -> dict[str, Any]:
    """The fields that are not None."""
    return {key: value for key, value in fields.items() if value is not None}


def requested_model(body: JsonObject) -> str:
    """The model that is asked for: `model`, else the first of `models`, else `auto`."""
    model = optional(body, "model", name)
    if model is not None:
        return model
    models: object = body.get("models")
    first = next(iter(cast("list[object]", models)), None) if isinstance(models, list) else models
    return "auto" if first is None else name(first, "models.0")
