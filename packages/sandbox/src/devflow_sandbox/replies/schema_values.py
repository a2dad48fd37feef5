"""Generates values that match a JSON schema, for structured output and tool arguments."""

from __future__ import annotations

from typing import Any, cast

from devflow_sandbox.api_error import invalid_request
from devflow_sandbox.message import JsonObject

_FORMATS = {
    "date": "2026-01-15",
    "time": "09:30:00Z",
    "date-time": "2026-01-15T09:30:00Z",
    "email": "dev@example.com",
    "uri": "https://example.com/",
    "url": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "127.0.0.1",
    "hostname": "localhost",
}
_MAX_DEPTH = 24
"""The depth at which recursive schemas are cut; their optional parts end earlier."""
_MAX_ITEMS, _MAX_CHARACTERS = 100, 100_000
"""The most items and characters that are made, even for schemas that require more."""
_SCHEMA_ERRORS = (TypeError, ValueError, AttributeError, LookupError, ArithmeticError)
"""Errors caused by an invalid schema; validating each one first would cost more."""


def generate_value(schema: JsonObject, words: str) -> Any:
    """Return a value that matches `schema`; unconstrained strings are made of `words`.

    Raises:
        ApiError: 400, if it is not a schema.
    """
    try:
        return _ValueGenerator(schema, words).generate(schema, 0)
    except _SCHEMA_ERRORS as error:
        raise invalid_request("Invalid schema: it is not a valid JSON schema") from error


class _ValueGenerator:
    def __init__(self, root: JsonObject, words: str) -> None:
        self._root = root
        self._words = " ".join(words.split())[:60] or "example"

    def generate(self, schema: object, depth: int) -> Any:
        if not isinstance(schema, dict) or depth > _MAX_DEPTH:
            return None
        node = self._resolve(cast(JsonObject, schema))
        if "const" in node:
            return node["const"]
        if node.get("enum"):
            return node["enum"][0]
        for name in ("anyOf", "oneOf"):
            if node.get(name):
                return self.generate(self._choose_simplest(node[name], depth), depth + 1)
        return self._generate_typed(node, depth)

    def _resolve(self, node: JsonObject) -> JsonObject:
        """Follow `$ref` and merge `allOf`."""
        for _ in range(_MAX_DEPTH):
            if "$ref" not in node:
                break
            own_keys = {key: value for key, value in node.items() if key != "$ref"}
            node = {**self._resolve_pointer(str(node["$ref"])), **own_keys}
        for part in cast("list[JsonObject]", node.get("allOf") or []):
            part_schema = self._resolve(part)
            properties = {**node.get("properties", {}), **part_schema.get("properties", {})}
            required = [*node.get("required", []), *part_schema.get("required", [])]
            node = {**part_schema, **node, "properties": properties, "required": required}
        return node

    def _resolve_pointer(self, pointer: str) -> JsonObject:
        target: Any = self._root
        for part in pointer.removeprefix("#").strip("/").split("/"):
            name = part.replace("~1", "/").replace("~0", "~")
            target = cast(JsonObject, target).get(name, {}) if isinstance(target, dict) else {}
        return cast(JsonObject, target)

    def _choose_simplest(self, choices: list[JsonObject], depth: int) -> JsonObject:
        """Choose the first alternative, but deep down one without parts, so that recursion ends."""
        # from here on only what is needed to end: no optional properties, no nested alternatives
        if depth > _MAX_DEPTH // 4:
            for choice in choices:
                if self._kind(self._resolve(choice)) not in {"object", "array"}:
                    return choice
        return choices[0]

    @staticmethod
    def _kind(node: JsonObject) -> str:
        kind = node.get("type")
        if isinstance(kind, list):
            names = cast("list[str]", kind)
            kind = next((one for one in names if one != "null"), "null")
        if kind is None:
            kind = "object" if "properties" in node else "array" if "items" in node else "string"
        return str(kind)

    def _generate_typed(self, node: JsonObject, depth: int) -> Any:
        match self._kind(node):
            case "object":
                return self._generate_object(node, depth)
            case "array":
                count = max(int(node.get("minItems", 0)), 0 if depth > _MAX_DEPTH // 2 else 1)
                count = min(count, _MAX_ITEMS)
                count = min(count, int(node.get("maxItems", count)))
                return [self.generate(node.get("items", {}), depth + 1) for _ in range(count)]
            case "integer" | "number" as kind:
                return _generate_number(node, kind)
            case "boolean":
                return True
            case "null":
                return None
            case _:
                return self._generate_text(node)

    def _generate_object(self, node: JsonObject, depth: int) -> JsonObject:
        properties: JsonObject = node.get("properties") or {}
        names = node.get("required") or ()
        if depth <= _MAX_DEPTH // 4:
            names = properties
        return {name: self.generate(properties.get(name, {}), depth + 1) for name in names}

    def _generate_text(self, node: JsonObject) -> str:
        text = _FORMATS.get(str(node.get("format")), self._words)
        min_length, max_length = (
            min(int(node.get("minLength", 0)), _MAX_CHARACTERS),
            node.get("maxLength"),
        )
        text = text if len(text) >= min_length else text.ljust(min_length, ".")
        return text if max_length is None else text[: int(max_length)]


def _generate_number(node: JsonObject, kind: str) -> int | float:
    low = node.get("minimum", node.get("exclusiveMinimum"))
    high = node.get("maximum", node.get("exclusiveMaximum"))
    value: int | float = 1
    if low is not None and (value < low or value == node.get("exclusiveMinimum")):
        value = low + (1 if "exclusiveMinimum" in node else 0)
    if high is not None and value >= high:
        value = high - (1 if "exclusiveMaximum" in node else 0)
    step = node.get("multipleOf")
    if step:
        value = -(-value // step) * step
    return int(value) if kind == "integer" else value
