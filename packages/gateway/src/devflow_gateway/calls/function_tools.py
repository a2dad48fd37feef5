"""Turns Python functions into tools that a model may call."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, Generic, ParamSpec, TypeVar, cast, get_type_hints, overload

from devflow_core.errors import InvalidRequest
from devflow_core.messages import Media, ResultPart, Text, ToolCall, ToolResult
from devflow_core.request import Tool
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PydanticUserError,
    TypeAdapter,
    ValidationError,
    create_model,
)

from devflow_gateway.calls.strict_schema import make_strict

P = ParamSpec("P")
R = TypeVar("R")
DEFAULT_TIMEOUT_S = 60.0
"""The seconds that one call of a tool may take by default."""
MAX_RESULT_CHARS = 100_000
"""The length to which a result is cut; a model is paid to read it in this and all later rounds."""
_ANY = TypeAdapter[Any](Any)
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_ARGUMENT = re.compile(r"^\*{0,2}(\w+)(?:\s*\([^)]*\))?:\s*(.*)$")
_SECTION = re.compile(r"^(Args|Arguments|Parameters|Returns|Yields|Raises|Example|Examples|Note):$")


class FunctionTool(Generic[P, R]):
    """A function that a model may call; calling the object calls the function.

    Args:
        function: with named parameters, whose types pydantic knows. One that is not `async` runs in
            a thread.
        name: for the model; None: the function's.
        description: for the model; None: the docstring up to its sections. In any case, the
            docstring's section `Args` describes the parameters.
        timeout_s: how long one call may take, in seconds.

    Raises:
        InvalidRequest: the name is not 1 to 64 letters, digits, `_` and `-`, or a parameter is
            positional-only or variadic, or its type has no JSON schema.
    """

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str | None = None,
        description: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        self.function = function
        self.name = name or getattr(function, "__name__", type(function).__name__)
        self.timeout_s = timeout_s
        self.__doc__ = function.__doc__
        if not _NAME.fullmatch(self.name):
            raise InvalidRequest(
                f"{self.name!r} cannot be the name of a tool: use up to 64 letters, digits, _ and "
                "-, as in tool(function, name='look_up')."
            )
        summary, of_arguments = _read_docstring(inspect.getdoc(function) or "")
        self._arguments, schema = _build_arguments(self.name, function, of_arguments)
        schema.pop("title", None)
        strict, is_strict = make_strict(schema)
        # a parameter with a default may be left out, which strict modes do not know
        is_strict = is_strict and all(
            one.is_required() for one in self._arguments.model_fields.values()
        )
        self.definition = Tool(
            name=self.name,
            description=description if description is not None else summary,
            schema=strict if is_strict else schema,
            strict=is_strict or None,
        )
        """The tool as a request declares it."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    async def run(self, call: ToolCall) -> ToolResult:
        """Return the result of a call; a failure is a result, too, which reports it to the model.

        Arguments that do not fit, an exception of the function and a time-out are such failures. A
        cancellation is raised. After a time-out or a cancellation, a function in a thread runs on.
        """
        try:
            arguments = self._arguments.model_validate_json(call.arguments or "{}")
        except ValidationError as error:
            return _failure(call, f"The arguments do not fit. {_describe(error)}")
        values = {
            field.alias or name: getattr(arguments, name)
            for name, field in type(arguments).model_fields.items()
            if name in arguments.model_fields_set
        }
        limit = asyncio.timeout(self.timeout_s)
        try:
            async with limit:
                result = await self._call(values)
            return ToolResult(call_id=call.id, parts=_parts_of(result))
        except TimeoutError as error:
            if limit.expired():
                return _failure(call, f"{self.name} took longer than {self.timeout_s:g} s.")
            return _failure(call, _name_of(error))
        except Exception as error:  # noqa: BLE001 - whatever a user's function raises is its result
            return _failure(call, _name_of(error))

    async def _call(self, values: Mapping[str, Any]) -> Any:
        function = cast("Callable[..., Any]", self.function)
        if inspect.iscoroutinefunction(function):
            return await function(**values)
        result = await asyncio.to_thread(function, **values)
        return await result if inspect.isawaitable(result) else result


@overload
def tool(
    function: Callable[P, R],
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> FunctionTool[P, R]: ...
@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> Callable[[Callable[P, R]], FunctionTool[P, R]]: ...
def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> Any:
    """Make a function a tool, as `@tool`, `@tool(name=…)` or `tool(function)`.

    Args:
        function: as of `FunctionTool`; None: a decorator is returned.
        name: for the model; None: the function's.
        description: for the model; None: the docstring up to its sections.
        timeout_s: how long one call may take, in seconds.

    Raises:
        InvalidRequest: as of `FunctionTool`.
    """

    def make(made_of: Callable[..., Any]) -> FunctionTool[..., Any]:
        return FunctionTool(made_of, name=name, description=description, timeout_s=timeout_s)

    return make if function is None else make(function)


def _build_arguments(
    name: str, function: Callable[..., Any], of_arguments: Mapping[str, str]
) -> tuple[type[BaseModel], dict[str, Any]]:
    """Return the pydantic model of the arguments, whose aliases are their names, and its schema.

    Raises:
        InvalidRequest: a parameter cannot be given by name, or its type has no JSON schema.
    """
    fields: dict[str, Any] = {}
    try:
        hints = get_type_hints(function, include_extras=True)
        for number, one in enumerate(inspect.signature(function).parameters.values()):
            if one.kind not in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY):
                raise InvalidRequest(
                    f"The tool {name}: a model can only give arguments by name, so {one} has no "
                    "place in its signature."
                )
            default: Any = ... if one.default is one.empty else one.default
            text = of_arguments.get(one.name)
            words: dict[str, Any] = {} if text is None else {"description": text}
            info = Field(default, alias=one.name, **words)
            fields[f"a{number}"] = (hints.get(one.name, Any), info)
        made = create_model(name, __config__=ConfigDict(extra="forbid"), **fields)
        return made, made.model_json_schema(by_alias=True)
    except (PydanticUserError, NameError, TypeError, ValueError) as error:
        raise InvalidRequest(
            f"The tool {name}: a parameter has a type that cannot be told to a model "
            f"({str(error).splitlines()[0]})."
        ) from error


def _read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """Return a docstring's text before its sections, and that of each parameter in `Args`."""
    summary: list[str] = []
    arguments: dict[str, str] = {}
    section = current = ""
    for line in text.splitlines():
        header = _SECTION.match(line.strip()) if not line.startswith(" ") else None
        if header:
            section = header[1]
        elif not section:
            summary.append(line)
        elif section in ("Args", "Arguments", "Parameters") and line.strip():
            found = _ARGUMENT.match(line.strip()) if _indent(line) <= 4 else None
            if found:
                current, arguments[found[1]] = found[1], found[2]
            elif current:
                arguments[current] += f" {line.strip()}"
    return "\n".join(summary).strip(), arguments


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _parts_of(result: Any) -> tuple[ResultPart, ...]:
    """Return a function's result as parts: text and media as they are, other values as JSON.

    Raises:
        TypeError: the result cannot be expressed in JSON.
    """
    if isinstance(result, Text | Media):
        return (result,)
    several = cast("tuple[Any, ...]", tuple(result) if isinstance(result, list | tuple) else ())  # type: ignore[reportUnknownArgumentType]
    if several and all(isinstance(one, Text | Media) for one in several):
        return several
    if isinstance(result, str):
        return (Text(text=_cut(result)),)
    try:
        return (Text(text=_cut(_ANY.dump_json(cast("object", result)).decode())),)
    except ValueError as error:
        kind = type(cast("object", result)).__name__
        raise TypeError(
            f"the tool returned {kind}, which is not JSON; return text, plain "
            "values, a dataclass, a pydantic model, or Text and Media"
        ) from error


def _cut(text: str) -> str:
    if len(text) <= MAX_RESULT_CHARS:
        return text
    return f"{text[:MAX_RESULT_CHARS]}\n[cut: {len(text) - MAX_RESULT_CHARS} more characters]"


def _failure(call: ToolCall, text: str) -> ToolResult:
    return ToolResult(call_id=call.id, parts=(Text(text=_cut(text)),), is_error=True)


def _name_of(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _describe(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, one['loc'])) or '$'}: {one['msg']}" for one in found)
