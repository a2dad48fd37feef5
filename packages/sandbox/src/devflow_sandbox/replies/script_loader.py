"""Parses a script from JSON, and reports each error with its line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from devflow_core.errors import ConfigurationError
from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")
ScriptSource = dict[str, Any] | str | bytes | Path
"""A script as an object, as JSON text, or as a file."""

_DECODER = json.JSONDecoder()
_SPACE = " \t\r\n"


def parse_script(source: ScriptSource, form: TypeAdapter[T], kind: str) -> T:
    """Return the parsed script.

    Args:
        source: the script.
        form: the form it has to have.
        kind: what the script is, for messages.

    Raises:
        ConfigurationError: it cannot be read, is not JSON, or does not have this form; the
            message names file, line and field. An object has no lines.
    """
    name, text = _read_source(source, kind)
    try:
        value = source if isinstance(source, dict) else json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"{name}, line {error.lineno}: {error.msg}") from error
    try:
        return form.validate_python(value)
    except ValidationError as error:
        wrong = error.errors(include_url=False)
        # the JSON is valid, so each location can be found again in its text
        problems = [_format_problem(name, text, value, one["loc"], one["msg"]) for one in wrong]
        raise ConfigurationError("\n".join(dict.fromkeys(problems))) from error


def _read_source(source: ScriptSource, kind: str) -> tuple[str, str]:
    """Return a name for the script, and its text; an object has no text, and so no lines.

    Raises:
        ConfigurationError: the file cannot be read, or is not UTF-8.
    """
    if isinstance(source, dict):
        return kind, ""
    if isinstance(source, Path):
        try:
            return str(source), source.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{source}: the {kind} cannot be read: {error}") from error
    return kind, source if isinstance(source, str) else source.decode("utf-8", errors="replace")


def _format_problem(
    name: str, text: str, value: object, loc: Sequence[int | str], problem: str
) -> str:
    field = ".".join(str(part) for part in loc)
    if not text:
        return f"{name}: {field}: {problem}"
    line = text.count("\n", 0, _find_offset(text, _existing_path(value, loc))) + 1
    return f"{name}, line {line}: {field}: {problem}"


def _existing_path(value: Any, loc: Sequence[int | str]) -> list[int | str]:
    """Return the part of a location that exists in the script; names of union members do not."""
    path: list[int | str] = []
    for part in loc:
        if isinstance(value, str):
            break
        try:
            value = value[part]
        except (TypeError, LookupError):
            continue
        path.append(part)
    return path


def _find_offset(text: str, path: Sequence[int | str]) -> int:
    """Return where the value at `path` begins in a valid JSON text."""
    offset = _skip_space(text, 0)
    for part in path:
        offset = (
            _find_member(text, offset, part)
            if isinstance(part, str)
            else _find_element(text, offset, part)
        )
    return offset


def _skip_space(text: str, offset: int) -> int:
    while text[offset] in _SPACE:
        offset += 1
    return offset


def _find_member(text: str, offset: int, wanted: str) -> int:
    offset = _skip_space(text, offset + 1)
    while True:
        name, offset = _DECODER.raw_decode(text, offset)
        offset = _skip_space(text, _skip_space(text, offset) + 1)
        if name == wanted:
            return offset
        _, offset = _DECODER.raw_decode(text, offset)
        offset = _skip_space(text, _skip_space(text, offset) + 1)


def _find_element(text: str, offset: int, wanted: int) -> int:
    offset = _skip_space(text, offset + 1)
    for _ in range(wanted):
        _, offset = _DECODER.raw_decode(text, offset)
        offset = _skip_space(text, _skip_space(text, offset) + 1)
    return offset
