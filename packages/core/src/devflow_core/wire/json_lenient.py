"""Read values out of a provider's JSON, where anything may stand: the wrong type is nothing."""

from __future__ import annotations

from typing import Any, cast

import orjson

from devflow_core.messages import JsonObject


def as_object(value: object) -> JsonObject:
    """An object; an empty one for anything else."""
    return cast("JsonObject", value) if isinstance(value, dict) else {}


def as_objects(value: object) -> list[JsonObject]:
    """The objects of an array; none for anything else."""
    items = cast("list[Any]", value) if isinstance(value, list) else []
    return [cast("JsonObject", item) for item in items if isinstance(item, dict)]


def as_text(value: object) -> str | None:
    """A string that is not empty."""
    return value if isinstance(value, str) and value else None


def as_int(value: object) -> int:
    """A whole number; 0 for anything else."""
    return value if isinstance(value, int) else 0


def as_arguments(value: object) -> str:
    """Arguments of a tool as JSON text; some send them as the object itself."""
    if isinstance(value, dict | list):
        return orjson.dumps(value).decode()
    return value if isinstance(value, str) else ""
