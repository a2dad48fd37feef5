"""Structured output: whether a whole reply is what was asked for, and how to ask once more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from devflow_core.errors import InvalidRequest, StructuredOutputInvalid
from devflow_core.messages import Message, Text
from devflow_core.request import ChatRequest, ResponseFormat

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

_MAX_VIOLATIONS = 10
_MAX_MESSAGE_CHARS = 200


def parse_structured(
    response_format: ResponseFormat, text: str, *, model: str | None = None
) -> Any:
    """The JSON value of a reply.

    Args:
        response_format: what was asked for.
        text: the whole answer.
        model: who gave it, for the message.

    Raises:
        StructuredOutputInvalid: it is no JSON, no object, or not what the schema says.
        InvalidRequest: the schema itself is none.
    """
    validator = _build_validator(response_format)
    try:
        value: Any = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise _invalid_error(text, (f"$: not JSON ({error.msg})",), model) from error
    if response_format.kind == "json_object" and not text.lstrip().startswith("{"):
        raise _invalid_error(text, ("$: no object",), model)
    # external references are not resolved: a schema never makes us call anybody
    found: list[Any] = list(validator.iter_errors(value))  # type: ignore[reportUnknownMemberType]
    if found:
        lines = (f"{one.json_path}: {one.message[:_MAX_MESSAGE_CHARS]}" for one in found)
        raise _invalid_error(text, tuple(lines)[:_MAX_VIOLATIONS], model)
    return value


def validate_schema(response_format: ResponseFormat) -> None:
    """Refuse a schema that is none, before anything is paid for.

    Raises:
        InvalidRequest: with the place in the schema.
    """
    _build_validator(response_format)


def build_repair_request(request: ChatRequest, error: StructuredOutputInvalid) -> ChatRequest:
    """The request with the failed reply and what is wrong with it, to be asked once more."""
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

    try:
        Draft202012Validator.check_schema(response_format.schema)
    except SchemaError as error:
        raise InvalidRequest(
            f"response_format holds no valid JSON schema: {error.json_path}: "
            f"{error.message[:_MAX_MESSAGE_CHARS]}."
        ) from error
    return Draft202012Validator(response_format.schema)


def _invalid_error(
    text: str, violations: tuple[str, ...], model: str | None
) -> StructuredOutputInvalid:
    return StructuredOutputInvalid(
        f"{model or 'The model'} replied with something else than the JSON that was asked for: "
        f"{violations[0].partition(':')[0]} is the first of {len(violations)} places. "
        "Allow a repair, or ask a model that supports structured output.",
        reply=text,
        violations=violations,
        model=model,
    )
