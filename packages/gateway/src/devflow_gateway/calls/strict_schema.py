"""Turns the JSON schema of a Python type into one that providers enforce word by word.

Strict modes know only a part of JSON Schema: every object lists all its properties as required and
allows no others, and constraints on values are refused. What is left out of the schema here is
still checked when the reply has come, by the type itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import orjson

_DROPPED = ("default", "title", "discriminator", "examples", "deprecated", "readOnly", "writeOnly")
"""Keywords without a meaning for a reply in which every property is present."""
_DESCRIBED = (
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
    "minLength", "maxLength", "pattern",
    "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties",
)  # fmt: skip
"""Constraints that not every provider takes in strict mode; the description states them instead."""
_RENAMED = {"oneOf": "anyOf"}
_FORMATS = (
    "date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid",
)  # fmt: skip
"""Formats of text that strict modes take; the description states others instead."""
_OPEN = ("patternProperties", "propertyNames", "prefixItems", "unevaluatedProperties")
"""Keywords that no strict mode can express."""


def make_strict(schema: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """Return the schema for providers, and whether a strict mode can take it.

    A type with keys of its own choice (`dict[str, int]`), without a type (`Any`) or with places of
    different types (`tuple[int, str]`) has no strict schema; its schema is then left as it is.

    Args:
        schema: as pydantic makes it.
    """
    if not _can_be_strict(schema):
        return dict(schema), False
    return _tighten(schema, schema), True


def _can_be_strict(node: Any) -> bool:
    if isinstance(node, list):
        return all(map(_can_be_strict, cast("list[Any]", node)))
    if not isinstance(node, Mapping):
        return True
    found = cast("Mapping[str, Any]", node)
    if any(word in found for word in _OPEN):
        return False
    if found.get("type") == "object" and found.get("additionalProperties", False) is not False:
        return False
    if found.get("type") == "object" and "properties" not in found:
        return False
    if found.get("type") == "array" and not found.get("items"):
        return False
    named = {name: found[name] for name in ("properties", "$defs") if name in found}
    inner = [one for group in named.values() for one in group.values()]
    inner += [found[name] for name in ("items",) if name in found]
    inner += [one for name in ("anyOf", "oneOf", "allOf") for one in found.get(name, ())]
    return all(_has_type(one) and _can_be_strict(one) for one in inner)


def _has_type(node: Mapping[str, Any]) -> bool:
    return any(
        word in node for word in ("type", "$ref", "anyOf", "oneOf", "allOf", "enum", "const")
    )


def _tighten(
    node: Mapping[str, Any], root: Mapping[str, Any], inside: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """Return a part of the schema as strict modes take it.

    Args:
        node: the part.
        root: the whole schema, whose `$defs` the references name.
        inside: the references that the part was put in the place of, so that none is nested.
    """
    reference = node.get("$ref")
    if reference is not None and "$defs" not in node:
        if len(node) == 1 or reference in inside:
            return {"$ref": reference}
        # a reference stands alone in strict modes, so its target is put in its place
        target = root["$defs"][reference.rpartition("/")[2]]
        beside = {name: value for name, value in node.items() if name != "$ref"}
        return _tighten({**target, **beside}, root, inside | {reference})
    described = [name for name in node if name in _DESCRIBED]
    if node.get("format", _FORMATS[0]) not in _FORMATS:
        described.append("format")
    kept = {name: value for name, value in node.items() if name not in (*_DROPPED, *described)}
    tight = {
        _RENAMED.get(name, name): _tighten_value(name, value, root, inside)
        for name, value in kept.items()
    }
    if node.get("type") == "object":
        tight["additionalProperties"] = False
        tight["required"] = list(node["properties"])
    return _describe(tight, {name: node[name] for name in described})


def _tighten_value(name: str, value: Any, root: Mapping[str, Any], inside: frozenset[str]) -> Any:
    if name in ("properties", "$defs"):
        return {key: _tighten(one, root, inside) for key, one in value.items()}
    if name in ("anyOf", "oneOf", "allOf"):
        return [_tighten(one, root, inside) for one in value]
    return _tighten(value, root, inside) if name == "items" else value


def _describe(tight: dict[str, Any], described: Mapping[str, Any]) -> dict[str, Any]:
    if described:
        words = ", ".join(f"{name}: {orjson.dumps(described[name]).decode()}" for name in described)
        tight["description"] = f"{tight.get('description', '')} ({words})".strip()
    return tight
