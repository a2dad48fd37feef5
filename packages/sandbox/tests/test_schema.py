"""Made-up values fit the schema that was asked for."""

from __future__ import annotations

from typing import Any

import pytest
from devflow_sandbox.replies.schema_values import generate_value
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

Schema = dict[str, Any]


def misfits(schema: Schema) -> list[str]:
    validator: Any = Draft202012Validator(schema)  # jsonschema's own types are incomplete
    return [
        error.message for error in validator.iter_errors(generate_value(schema, "what was asked"))
    ]


def objects(parts: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    fields = st.dictionaries(st.sampled_from("abcd"), parts, max_size=4)
    return fields.map(
        lambda inner: {"type": "object", "properties": inner, "required": list(inner)}
    )


leaves = st.one_of(
    st.sampled_from(
        [
            {"type": "string"},
            {"type": "string", "format": "date-time"},
            {"type": "boolean"},
            {"type": "null"},
            {"type": ["null", "integer"]},
            {"enum": ["a", 1]},
            {"const": {"x": 1}},
            {},
        ]
    ),
    st.integers(-50, 50).flatmap(
        lambda low: st.sampled_from(
            [
                {"type": "integer", "minimum": low},
                {"type": "integer", "exclusiveMinimum": low},
                {"type": "number", "maximum": low},
                {"type": "integer", "exclusiveMaximum": low},
                {"type": "integer", "minimum": low, "multipleOf": 7},
            ]
        )
    ),
    st.integers(0, 90).map(lambda size: {"type": "string", "minLength": size, "maxLength": size}),
)
schemas = st.recursive(
    leaves,
    lambda parts: st.one_of(
        objects(parts),
        st.tuples(parts, st.integers(0, 3)).map(
            lambda one: {"type": "array", "items": one[0], "minItems": one[1]}
        ),
        st.lists(parts, min_size=1, max_size=3).map(lambda several: {"anyOf": several}),
        st.lists(objects(parts), min_size=1, max_size=1).map(lambda one: {"allOf": one}),
    ),
    max_leaves=8,
)


@given(schemas)
def test_value_fits_its_schema(schema: Schema) -> None:
    assert misfits(schema) == []


SCHEMAS: list[Schema] = [
    {
        "$defs": {
            "node": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                    "all": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                },
                "required": ["name"],
            }
        },
        "$ref": "#/$defs/node",
    },
    {"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "integer"}}},
    {"properties": {"a": {"oneOf": [{"type": "string"}, {"type": "null"}]}}},
    {"items": {"type": "integer"}, "maxItems": 0},
    {"allOf": [{"type": "object", "properties": {"a": {}}}, {"required": ["a"]}]},
]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_references_recursion_and_mixtures(schema: Schema) -> None:
    assert misfits(schema) == []


def test_schema_that_points_nowhere_still_gets_a_value() -> None:
    assert generate_value({"$ref": "#/$defs/none"}, "a question") == "a question"
