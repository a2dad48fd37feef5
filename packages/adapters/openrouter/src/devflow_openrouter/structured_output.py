"""Checks structured output of a whole reply, and builds the request for a repair."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import orjson
from devflow_core.errors import InvalidRequest, StructuredOutputInvalid
from devflow_core.messages import Message, Text
from devflow_core.pipeline import Completion
from devflow_core.request import ChatRequest, ResponseFormat

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

_MAX_VIOLATIONS = 10
"""The most violations listed: a repair sends them to the model, which is paid by the token."""
_MAX_MESSAGE_CHARS = 200
"""The length to which a message is cut: it quotes a value or a schema, however large that is."""


async def complete_structured(
    ask: Callable[[ChatRequest, int], Awaitable[Completion]], request: ChatRequest, repairs: int
) -> Completion:
    """Return the first whole reply that has the request's format; any, if none is requested.

    Args:
        ask: asks once; it is given the number of repairs so far.
        request: what is asked. A reply that calls tools is not checked.
        repairs: how often a reply that fails the check is asked for again.

    Raises:
        InvalidRequest: the schema of the format is invalid, or `repairs` is below 0; nothing was
            asked.
        StructuredOutputInvalid: the last reply does not match the format.
        DevFlowError: any error that `ask` raises.
    """
    if repairs < 0:
        raise InvalidRequest("repairs: give 0 or more.")
    wanted = request.response_format
    if wanted is None:
        return await ask(request, 0)
    validate_schema(wanted)
    number = 0
    while True:
        completion = await ask(request, number)
        try:
            if not completion.tool_calls:
                parse_structured(wanted, completion.text, model=completion.model)
        except StructuredOutputInvalid as error:
            if number == repairs:
                raise
            number, request = number + 1, build_repair_request(request, error)
        else:
            return completion


def parse_structured(
    response_format: ResponseFormat, text: str, *, model: str | None = None
) -> Any:
    """Return the JSON value of a reply.

    Args:
        response_format: the requested format.
        text: the whole answer.
        model: the model that answered, for the message.

    Raises:
        StructuredOutputInvalid: the text is not JSON, not an object although one was requested, or
            does not match the schema.
        InvalidRequest: the schema itself is invalid.
    """
    validator = _build_validator(response_format)
    try:
        value: Any = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise _invalid_error(text, (f"$: not JSON ({error.msg})",), model) from error
    if response_format.kind == "json_object" and not text.lstrip().startswith("{"):
        raise _invalid_error(text, ("$: not an object",), model)
    found = _find_errors(validator, value)
    if found:
        lines = (f"{one.json_path}: {one.message[:_MAX_MESSAGE_CHARS]}" for one in found)
        raise _invalid_error(text, tuple(lines)[:_MAX_VIOLATIONS], model)
    return value


def _find_errors(validator: Draft202012Validator, value: Any) -> list[Any]:
    """Return the violations of a schema.

    Raises:
        InvalidRequest: the schema refers to something outside of it, which is never fetched.
    """
    from referencing.exceptions import Unresolvable

    try:
        return list(validator.iter_errors(value))  # type: ignore[reportUnknownMemberType]
    except Unresolvable as error:
        raise InvalidRequest(
            f"response_format: the schema refers to {error.ref!r}, which is not in it. Copy what it"
            " refers to into the schema, under $defs."
        ) from None


def validate_schema(response_format: ResponseFormat) -> None:
    """Check that a schema is valid, before anything is paid for.

    Raises:
        InvalidRequest: the schema is invalid; the message names the place in it.
    """
    _build_validator(response_format)


def build_repair_request(request: ChatRequest, error: StructuredOutputInvalid) -> ChatRequest:
    """Return the request with the failed reply and its violations added as two messages."""
    violations = "\n".join(f"- {line}" for line in error.violations)
    prompt = (
        "Your reply is not valid for the JSON schema that was asked for:\n"
        f"{violations}\nReply with the corrected JSON only."
    )
    more = (
        Message(role="assistant", parts=(Text(text=error.reply),)),
        Message(role="user", parts=(Text(text=prompt),)),
    )
    return request.with_messages(request.messages + more)


def _build_validator(response_format: ResponseFormat) -> Draft202012Validator:
    # a tenth of a second to import, for the few requests that bring a schema
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError
    from referencing import Registry

    try:
        Draft202012Validator.check_schema(response_format.schema)
    except SchemaError as error:
        raise InvalidRequest(
            f"response_format holds no valid JSON schema: {error.json_path}: "
            f"{error.message[:_MAX_MESSAGE_CHARS]}."
        ) from error
    # the library's own registry would fetch whatever a reference names
    return Draft202012Validator(response_format.schema, registry=Registry())


def _invalid_error(
    text: str, violations: tuple[str, ...], model: str | None
) -> StructuredOutputInvalid:
    return StructuredOutputInvalid(
        f"{model or 'The model'} replied with something other than the JSON that was asked for: "
        f"{violations[0].partition(':')[0]} is the first of {len(violations)} places. "
        "Allow a repair, or ask a model that supports structured output.",
        reply=text,
        violations=violations,
        model=model,
    )
