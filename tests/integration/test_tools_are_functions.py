"""Functions become tools: a model calls them until it has answered, within one budget."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Annotated, Any

import anyio
import pytest
from devflow_core import ChatRequest
from devflow_core.errors import BudgetExceeded, InvalidRequest, UpstreamTimeout
from devflow_core.messages import Media, Text, ToolCall, ToolResult
from devflow_core.request import ToolChoice
from devflow_gateway import AsyncGateway
from devflow_gateway.calls.function_tools import FunctionTool, tool
from devflow_gateway.calls.tool_rounds import ToolRun
from devflow_sandbox import Sandbox
from devflow_store import Store
from pydantic import Field

MODEL = "openai/gpt-5-mini"
PATIENCE_S = 60.0


def calls(*wanted: tuple[str, str]) -> dict[str, Any]:
    """Return a turn of the stand-in's script that calls tools."""
    made = [{"name": name, "arguments": json.loads(arguments)} for name, arguments in wanted]
    return {"reply": {"tool_calls": made}}


def asked(text: str = "What is the weather?") -> ChatRequest:
    return replace(ChatRequest.from_text(text, model=MODEL), max_output_tokens=500)


def results_of(run: ToolRun) -> list[ToolResult]:
    parts = [part for message in run.messages for part in message.parts]
    return [part for part in parts if isinstance(part, ToolResult)]


def text_of(result: ToolResult) -> str:
    return "".join(part.text for part in result.parts if isinstance(part, Text))


@tool
def weather(city: str, days: int = 1) -> dict[str, Any]:
    """Tell the weather.

    It is always the same.

    Args:
        city: where,
            in English.
        days (int): how many: 1 to 3.

    Returns:
        The forecast.
    """
    return {"city": city, "days": days, "sky": "clear"}


def test_signature_and_docstring_are_what_the_model_is_told() -> None:
    told = weather.definition
    assert (told.name, told.description) == (
        "weather",
        "Tell the weather.\n\nIt is always the same.",
    )
    properties = told.schema["properties"]
    assert properties["city"]["description"] == "where, in English."
    assert properties["days"]["description"] == "how many: 1 to 3."
    assert told.schema["required"] == ["city"]
    assert weather("Oslo", days=2)["days"] == 2

    @tool(name="look-up", description="Finds things.")
    async def find(schema: Annotated[str, Field(pattern="^a")]) -> str:
        return schema

    assert (find.definition.name, find.definition.description) == ("look-up", "Finds things.")
    assert find.definition.strict
    assert find.definition.schema["additionalProperties"] is False


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("{}", "city: Field required"),
        ("", "city: Field required"),
        ('{"city": "Oslo", "days": "many"}', "days: Input should be a valid integer"),
        ('{"city": "Oslo", "wind": 3}', "wind: Extra inputs"),
        ("not json", "Invalid JSON"),
    ],
)
async def test_wrong_arguments_go_back_to_the_model(arguments: str, words: str) -> None:
    result = await weather.run(ToolCall(id="call_1", name="weather", arguments=arguments))
    assert (result.call_id, result.is_error) == ("call_1", True)
    assert words in text_of(result)


async def test_what_goes_wrong_in_a_tool_goes_back_to_the_model() -> None:
    def breaks() -> None:
        raise LookupError("no such city")

    def returns_a_lock() -> Any:
        return threading.Lock()

    async def waits() -> None:
        await asyncio.Event().wait()

    made: list[FunctionTool[..., Any]] = [
        tool(breaks),
        tool(returns_a_lock),
        tool(waits, timeout_s=0.01),
    ]
    texts: list[str] = []
    for one in made:
        result = await one.run(ToolCall(id="c", name=one.name, arguments="{}"))
        assert result.is_error
        texts.append(text_of(result))
    assert texts[0] == "LookupError: no such city"
    assert "is not JSON" in texts[1]
    assert texts[2] == "waits took longer than 0.01 s."


async def test_results_keep_their_form() -> None:
    picture = Media(kind="image", media_type="image/png", base64="iVBORw0KGgo=")
    cases: list[tuple[Any, tuple[Text | Media, ...]]] = [
        ("plain", (Text(text="plain"),)),
        ({"a": 1}, (Text(text='{"a":1}'),)),
        (None, (Text(text="null"),)),
        ([Text(text="see"), picture], (Text(text="see"), picture)),
    ]
    for value, parts in cases:

        def give(value: Any = value) -> Any:
            return value

        made = tool(give)
        result = await made.run(ToolCall(id="c", name="give", arguments="{}"))
        assert (result.parts, result.is_error) == (parts, False)
    long: FunctionTool[..., Any] = tool(lambda: "x" * 200_000, name="long")
    result = await long.run(ToolCall(id="c", name="long", arguments="{}"))
    assert text_of(result).endswith("[cut: 100000 more characters]")


def test_what_cannot_be_told_to_a_model_is_refused() -> None:
    def many(*cities: str) -> None: ...
    def locked(lock: threading.Thread) -> None: ...
    def called(back: Callable[[int], int]) -> None: ...

    cases: list[tuple[Callable[..., Any], str]] = [
        (many, "by name"),
        (locked, "type"),
        (called, "type"),
        (lambda: 1, "name"),
    ]
    for function, words in cases:
        with pytest.raises(InvalidRequest, match=words):
            tool(function)


async def test_a_model_calls_tools_until_it_has_answered(
    sandbox: Sandbox, gateway: AsyncGateway
) -> None:
    together = asyncio.Barrier(2)

    async def rain(city: str) -> str:
        """Tell the rain."""
        async with asyncio.timeout(PATIENCE_S):
            await together.wait()  # only passed if both calls run at once
        return f"no rain in {city}"

    async def wind(city: str) -> str:
        """Tell the wind."""
        async with asyncio.timeout(PATIENCE_S):
            await together.wait()
        return f"no wind in {city}"

    sandbox.set_script(
        {"turns": [
            calls(("rain", '{"city": "Oslo"}'), ("wind", '{"city": "Oslo"}')),
            calls(("weather", '{"days": 1}')),
            calls(("weather", '{"city": "Oslo"}'), ("snow", "{}")),
            {"reply": {"text": "Clear and calm."}},
        ]}
    )  # fmt: skip
    seen: list[int] = []
    run = await gateway.run_tools(
        asked(),
        [rain, wind, weather],
        max_cost_usd=Decimal("0.05"),
        on_round=lambda so_far: seen.append(len(so_far.completions)),
    )
    assert run.text == "Clear and calm."
    assert seen == [1, 2, 3, 4]
    assert [text_of(one) for one in results_of(run)] == [
        "no rain in Oslo",
        "no wind in Oslo",
        "The arguments do not fit. city: Field required",
        '{"city":"Oslo","days":1,"sky":"clear"}',
        "There is no tool 'snow'. There are: rain, wind, weather.",
    ]
    assert [one.role for one in run.messages] == ["user", *("assistant", "user") * 3, "assistant"]
    assert len(run.entries) == 4
    bill = Decimal(str(sandbox.bill()["total_usd"]))
    assert run.cost_usd == sum(one.cost_usd for one in run.entries) == bill > 0


async def test_the_last_round_has_to_answer(sandbox: Sandbox, gateway: AsyncGateway) -> None:
    request = replace(
        asked("use the weather tool"), tool_choice=ToolChoice(mode="tool", name="weather")
    )
    run = await gateway.run_tools(request, [weather], max_rounds=2)
    assert len(run.completions) == 2
    assert not run.completion.tool_calls


async def test_one_budget_holds_over_all_rounds(sandbox: Sandbox, gateway: AsyncGateway) -> None:
    turn = calls(("weather", '{"city": "Oslo"}'))
    sandbox.set_script({"turns": [turn] * 50})
    limit = Decimal("0.0025")
    runs: list[ToolRun] = []
    with pytest.raises(BudgetExceeded):
        await gateway.run_tools(
            asked(), [weather], max_rounds=50, max_cost_usd=limit, on_round=runs.append
        )
    spent = Decimal(str(sandbox.bill()["total_usd"]))
    assert runs[-1].cost_usd == spent <= limit
    assert len(runs) > 1


async def test_a_deadline_or_a_cancellation_ends_tools_and_calls(
    sandbox: Sandbox, gateway: AsyncGateway
) -> None:
    ended = asyncio.Event()

    async def waits() -> None:
        """Wait."""
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    sandbox.set_script({"turns": [calls(("waits", "{}"))] * 3})
    with pytest.raises(UpstreamTimeout, match="deadline_s"):
        await gateway.run_tools(asked(), [waits], deadline_s=0.5)
    assert ended.is_set()
    ended.clear()
    with anyio.move_on_after(0.5) as scope:
        await gateway.run_tools(asked(), [waits])
    assert scope.cancelled_caught
    assert ended.is_set()
    book = gateway.pipeline.book
    assert isinstance(book, Store)
    assert [one.outcome for one in book.entries()] == ["succeeded"] * 2


async def test_what_is_wrong_is_said_before_anything_is_paid(
    sandbox: Sandbox, gateway: AsyncGateway
) -> None:
    for arguments, words in (
        ({"max_rounds": 0}, "max_rounds"),
        ({"deadline_s": 0}, "deadline_s"),
        ({"tools": [weather, weather]}, "called 'weather'"),
    ):
        given: dict[str, Any] = {"tools": [weather], **arguments}
        with pytest.raises(InvalidRequest, match=words):
            await gateway.run_tools(asked(), **given)
    assert not sandbox.bill()["calls"]
