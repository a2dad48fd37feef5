"""Checks JSON values against untrusted schemas, in bounded time and without the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import cache
from itertools import count
from typing import TYPE_CHECKING, Any, cast

import orjson

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

MAX_SCHEMA_BYTES = 200_000
"""A longer schema is not looked at."""
MAX_VALUE_CHARS = 2_000_000
"""A value of longer JSON is not looked at."""
MAX_STEPS = 20_000
"""The most keywords that are looked at; alternatives within alternatives could be endless."""
_UNBOUNDED = ("pattern", "patternProperties", "uniqueItems", "format")
"""Keywords that are taken as fulfilled: a short pattern can stop a process for hours."""
_BESIDE_PATTERNS = ("additionalProperties", "unevaluatedProperties")
"""Keywords that look at the patterns beside them."""
_Keyword = Callable[[Any, Any, Any, Any], Iterator[Any] | None]
_steps: ContextVar[Iterator[int]] = ContextVar("_steps")
"""Counts the steps of one check."""


class TooMuchToCheck(Exception):
    """The schema, or the value, is too large to be looked at here."""


def find_violation(schema: Mapping[str, Any], value: Any) -> str | None:
    """Return the keyword of the first violation, such as `required`; None if the value fits.

    Args:
        schema: any object; every value fits one that is not a JSON schema.
        value: a JSON value.

    Raises:
        TooMuchToCheck: the schema is too large or too involved.
    """
    from jsonschema.exceptions import SchemaError
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    try:
        written = orjson.dumps(schema)
    except TypeError:  # numbers of more than 64 bits, or too deep
        raise TooMuchToCheck from None
    if len(written) > MAX_SCHEMA_BYTES:
        raise TooMuchToCheck
    kind = _bounded_kind(has_patterns=b'"patternProperties"' in written)
    _steps.set(count())
    try:
        kind.check_schema(dict(schema))
        # the library's own registry would fetch what a reference names
        validator = kind(dict(schema), registry=Registry())
        found = next(iter(validator.iter_errors(value)), None)
    except (SchemaError, Unresolvable):
        return None
    except RecursionError:
        raise TooMuchToCheck from None
    return None if found is None else str(found.validator)


@cache
def _bounded_kind(*, has_patterns: bool) -> type[Validator]:
    """Return a class of validators that count their steps in `_steps`; made once, as it is slow."""
    from jsonschema import Draft202012Validator, validators

    left_out = (*_UNBOUNDED, *(_BESIDE_PATTERNS if has_patterns else ()))
    keywords = cast("Mapping[str, _Keyword]", Draft202012Validator.VALIDATORS)
    counted = {
        name: _skip if name in left_out else _count(keyword) for name, keyword in keywords.items()
    }
    return cast("type[Validator]", cast("Any", validators).extend(Draft202012Validator, counted))


def _skip(_validator: Any, _wanted: Any, _value: Any, _schema: Any) -> None:
    """Take a keyword as fulfilled."""


def _count(keyword: _Keyword) -> _Keyword:
    def judge(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[Any]:
        if next(_steps.get()) > MAX_STEPS:
            raise TooMuchToCheck
        yield from keyword(validator, wanted, value, schema) or ()

    return judge
