"""Reads values out of a provider's JSON leniently: a value of the wrong type counts as missing."""

from __future__ import annotations

from typing import Any, cast

import orjson

from devflow_core.messages import JsonObject


def as_object(value: object) -> JsonObject:
    """Return an object unchanged, and an empty one for any other value."""
    return cast("JsonObject", value) if isinstance(value, dict) else {}


def as_objects(value: object) -> list[JsonObject]:
    """Return the objects of an array; an empty list for any other value."""
    items = cast("list[Any]", value) if isinstance(value, list) else []
    return [cast("JsonObject", item) for item in items if isinstance(item, dict)]


def as_text(value: object) -> str | None:
    """Return a string that is not empty; None for any other value."""
    return value if isinstance(value, str) and value else None


def as_int(value: object) -> int:
    """Return a whole number; 0 for any other value."""
    return value if isinstance(value, int) else 0


def as_arguments(value: object) -> str:
    """Return a tool's arguments as JSON text, even if sent as an object; "" for another value."""
    if isinstance(value, dict | list):
        return orjson.dumps(value).decode()
    return value if isinstance(value, str) else ""
