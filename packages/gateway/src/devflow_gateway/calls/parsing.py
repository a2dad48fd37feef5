"""Asks for replies of a Python type, and parses them into its values."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, Generic, TypeVar, cast

import orjson
from devflow_core.errors import InvalidRequest, StructuredOutputInvalid
from devflow_core.pipeline import Completion
from devflow_core.request import ChatRequest, ResponseFormat
from pydantic import PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, ValidationError

from devflow_gateway.calls.main_provider import build_repair_request
from devflow_gateway.calls.strict_schema import make_strict

T = TypeVar("T")
_WRAPPED = "value"
"""The property that holds a reply whose type is not an object: providers want one at the top."""
_MAX_VIOLATIONS = 10
"""The most violations that an error lists and a repair sends to the model."""
_MAX_NAME_CHARS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedCompletion(Completion, Generic[T]):
    """A whole reply with the value that it was parsed into."""

    parsed: T


class ReplyType(Generic[T]):
    """A Python type with the format that asks for its values, and the parser of the replies.

    Args:
        kind: a pydantic model, a dataclass, a `TypedDict`, or any other type that pydantic's
            `TypeAdapter` takes.

    Raises:
        InvalidRequest: the type has no JSON schema.
    """

    def __init__(self, kind: type[T]) -> None:
        name = getattr(kind, "__name__", None) or str(kind)
        try:
            self._adapter: TypeAdapter[T] = TypeAdapter(kind)
            schema = self._adapter.json_schema()
        except (PydanticSchemaGenerationError, PydanticUserError) as error:
            raise InvalidRequest(
                f"response_model: {name} has no JSON schema ({error.message.splitlines()[0]}). Use "
                "a pydantic model, a dataclass, or a type made of them and of plain values."
            ) from error
        self._is_wrapped = schema.get("type") != "object" or "properties" not in schema
        if self._is_wrapped:
            schema = _wrap(schema)
        strict, is_strict = make_strict(schema)
        plain_name = "".join(one if one.isalnum() else "_" for one in name)[:_MAX_NAME_CHARS]
        self.format = ResponseFormat(
            kind="json_schema", schema=strict, name=plain_name, strict=is_strict or None
        )
        """The format that a request asks for."""

    def parse(self, completion: Completion) -> ParsedCompletion[T]:
        """Return the reply with its value.

        Raises:
            StructuredOutputInvalid: the reply is not a value of the type.
        """
        text = completion.text
        try:
            if self._is_wrapped:
                text = orjson.dumps(orjson.loads(text)[_WRAPPED]).decode()
            value = self._adapter.validate_json(text)
        except ValidationError as error:
            raise self._invalid(completion, _violations(error, self._is_wrapped)) from error
        except (ValueError, TypeError, KeyError) as error:
            raise self._invalid(completion, (f"$: no JSON object with `{_WRAPPED}`",)) from error
        known = {one.name: getattr(completion, one.name) for one in fields(Completion)}
        return ParsedCompletion(**known, parsed=value)

    def _invalid(
        self, completion: Completion, violations: tuple[str, ...]
    ) -> StructuredOutputInvalid:
        return StructuredOutputInvalid(
            f"{completion.model} replied with something that is not a {self.format.name}: "
            f"{violations[0].partition(':')[0]} is the first of {len(violations)} places. Allow a "
            "repair, or ask a model that supports structured output.",
            reply=completion.text,
            violations=violations,
            model=completion.model,
        )


async def complete_parsed(
    ask: Callable[[ChatRequest], Awaitable[Completion]],
    request: ChatRequest,
    kind: type[T],
    *,
    repairs: int = 0,
) -> ParsedCompletion[T]:
    """Return the reply to a request as a value of a type.

    Args:
        ask: returns the whole reply to a request, and may check it against the request's format.
        request: what is asked; without a format and without tools.
        kind: the type.
        repairs: how often a reply that is not a value of the type is asked for again, each time as
            a separate paid request that names the violations.

    Raises:
        InvalidRequest: the type has no JSON schema, the request has a format or tools, or
            `repairs` is below 0; nothing was sent.
        StructuredOutputInvalid: the last reply is complete but not a value of the type.
        DevFlowError: no model answered, or the reply broke off.
    """
    if repairs < 0:
        raise InvalidRequest("repairs: give 0 or more.")
    if request.response_format is not None:
        raise InvalidRequest("Send either response_model or a request with response_format.")
    if request.tools:
        raise InvalidRequest("response_model: the request has tools. Use run_tools to run them.")
    reply_type = reply_type_of(kind)
    request = replace(request.with_messages(request.messages), response_format=reply_type.format)
    while True:
        try:
            return reply_type.parse(await ask(request))
        except StructuredOutputInvalid as error:
            if repairs <= 0:
                raise
            repairs, request = repairs - 1, build_repair_request(request, error)


def reply_type_of(kind: type[T]) -> ReplyType[T]:
    """Return the reply type of a Python type; the 256 used last are cached.

    Raises:
        InvalidRequest: the type has no JSON schema.
    """
    return cast("ReplyType[T]", _make_reply_type(kind))


@lru_cache(maxsize=256)
def _make_reply_type(kind: Any) -> ReplyType[Any]:
    return ReplyType(kind)


def _wrap(schema: dict[str, Any]) -> dict[str, Any]:
    defs = schema.pop("$defs", None)
    wrapped: dict[str, Any] = {
        "type": "object",
        "properties": {_WRAPPED: schema},
        "required": [_WRAPPED],
        "additionalProperties": False,
    }
    return wrapped if defs is None else {**wrapped, "$defs": defs}


def _violations(error: ValidationError, is_wrapped: bool) -> tuple[str, ...]:
    top = f"$.{_WRAPPED}" if is_wrapped else "$"
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return tuple(
        f"{top}{''.join(f'.{step}' for step in one['loc'])}: {one['msg']}"
        for one in found[:_MAX_VIOLATIONS]
    )
