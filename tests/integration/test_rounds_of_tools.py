"""What each round of a run with tools sends and keeps, seen by a model that we play ourselves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
from devflow_core.attribution import Attribution
from devflow_core.messages import Part, Text, ToolCall, ToolResult
from devflow_core.pipeline import Completion
from devflow_core.request import ChatRequest, Origin, Tool, ToolChoice
from devflow_core.response import ChatResponse
from devflow_core.testing import a_request, a_route, an_entry
from devflow_gateway.calls.function_tools import MAX_RESULT_CHARS, tool
from devflow_gateway.calls.main_provider import BaseGateway
from devflow_gateway.calls.tool_rounds import MAX_PARALLEL, ToolRun, run_tool_rounds, run_tools

PATIENCE_S = 60.0


class Model:
    """Answers each request with the next turn, and keeps what it was asked, and how.

    Args:
        turns: the parts of each reply; after the last one the model answers "done".
    """

    def __init__(self, *turns: Sequence[Part]) -> None:
        self._turns = list(turns)
        self.asked: list[ChatRequest] = []
        self.arguments: list[dict[str, Any]] = []

    async def __call__(self, request: ChatRequest) -> Completion:
        self.asked.append(request)
        turn = self._turns.pop(0) if self._turns else [Text(text="done")]
        response = ChatResponse(
            generation_id=None,
            model="a/b",
            provider=None,
            parts=tuple(turn),
            finish_reason="stop",
            native_finish_reason=None,
            usage=None,
            cost=None,
        )
        return Completion(response=response, route=a_route(), entry=an_entry())

    async def complete(self, request: ChatRequest, **arguments: Any) -> Completion:
        """As a gateway's."""
        self.arguments.append(arguments)
        return await self(request)


def call(number: int, name: str = "echo", arguments: str = "{}") -> ToolCall:
    return ToolCall(id=f"call_{number}", name=name, arguments=arguments)


def results_of(request: ChatRequest) -> list[ToolResult]:
    return [part for part in request.messages[-1].parts if isinstance(part, ToolResult)]


@tool
def echo() -> str:
    """Say something."""
    return "something"


async def test_each_result_names_the_call_that_it_answers() -> None:
    model = Model([call(7), call(3, "nothing"), call(5, arguments="[")])
    await run_tool_rounds(model, a_request(), [echo])
    found = [(one.call_id, one.is_error) for one in results_of(model.asked[1])]
    assert found == [("call_7", False), ("call_3", True), ("call_5", True)]


async def test_no_more_calls_run_at_once_than_allowed() -> None:
    running, most, may_end = 0, 0, asyncio.Event()

    async def works() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == MAX_PARALLEL:
            asyncio.get_running_loop().call_soon(may_end.set)
        async with asyncio.timeout(PATIENCE_S):
            await may_end.wait()
        running -= 1

    model = Model([call(number, "works") for number in range(3 * MAX_PARALLEL)])
    await run_tool_rounds(model, a_request(), [works])
    assert most == MAX_PARALLEL
    assert len(results_of(model.asked[1])) == 3 * MAX_PARALLEL


async def test_the_last_round_is_asked_to_call_nothing() -> None:
    stubborn = Model(*[[call(number)] for number in range(9)])
    run = await run_tool_rounds(stubborn, a_request(), [echo], max_rounds=3)
    choices = [one.tool_choice and one.tool_choice.mode for one in stubborn.asked]
    assert choices == [None, None, "none"]
    # it called one all the same: the run ends, and the call is not carried out
    assert len(run.completions) == 3
    assert isinstance(run.messages[-1].parts[0], ToolCall)


async def test_the_only_round_may_call() -> None:
    model = Model([call(1)])
    run = await run_tool_rounds(model, a_request(), [echo], max_rounds=1)
    assert model.asked[0].tool_choice is None
    assert run.completion.tool_calls


@pytest.mark.parametrize("mode", ["required", "tool"])
async def test_a_call_that_is_demanded_is_demanded_once(mode: Any) -> None:
    model = Model([call(1)], [call(2)])
    choice = ToolChoice(mode=mode, name="echo" if mode == "tool" else None)
    await run_tool_rounds(model, a_request(tool_choice=choice), [echo])
    assert [one.tool_choice for one in model.asked] == [choice, None, None]


async def test_the_requests_own_tools_and_the_whole_history_are_sent() -> None:
    own = Tool(name="own", description="", schema={"type": "object"})
    body: dict[str, Any] = {"model": "a/b", "messages": []}
    request = a_request(tools=(own,), origin=Origin(wire="openai_chat", body=body))
    model = Model([Text(text="Let me see."), call(1)])
    run = await run_tool_rounds(model, request, [echo])
    assert [one.name for one in model.asked[0].tools] == ["own", "echo"]
    # the body of before does not have the tools, thus it must not be sent in their place
    assert model.asked[0].origin is not None
    assert model.asked[0].origin.body is None
    assert model.asked[1].messages[:-2] == request.messages
    assert model.asked[1].messages[-2].parts == (Text(text="Let me see."), call(1))
    assert run.messages[:-1] == model.asked[1].messages


async def test_a_time_out_that_is_not_the_runs_own_keeps_its_class() -> None:
    async def ask(_request: ChatRequest) -> Completion:
        raise TimeoutError("of the caller's own code")

    with pytest.raises(TimeoutError, match="of the caller's own code"):
        await run_tool_rounds(ask, a_request(), [echo])


async def test_a_function_that_waits_holds_up_nobody() -> None:
    may_end = threading.Event()

    def waits() -> bool:
        return may_end.wait(PATIENCE_S)

    async def opens() -> None:
        may_end.set()

    model = Model([call(1, "waits"), call(2, "opens")])
    await run_tool_rounds(model, a_request(), [waits, opens])
    assert results_of(model.asked[1])[0].parts == (Text(text="true"),)


async def test_a_long_result_is_cut_and_says_so() -> None:
    def long() -> str:
        return "a" * (MAX_RESULT_CHARS + 5)

    model = Model([call(1, "long")])
    await run_tool_rounds(model, a_request(), [long])
    (part,) = results_of(model.asked[1])[0].parts
    assert isinstance(part, Text)
    assert part.text == "a" * MAX_RESULT_CHARS + "\n[cut: 5 more characters]"


async def test_every_round_is_told_and_labelled() -> None:
    model, seen = Model([call(1)]), list[ToolRun]()

    class Session:
        """Labels the first request."""

        async def inject(self, request: ChatRequest) -> ChatRequest:
            return replace(request, attribution=Attribution(session_id="s1"))

    labels: dict[str, Any] = {"project": "shop", "tags": {"team": "web"}}
    await run_tools(
        cast("BaseGateway", model),
        a_request(),
        [echo],
        on_round=seen.append,
        session=cast("Any", Session()),
        **labels,
    )
    assert model.arguments == [labels, labels]
    assert [len(one.completions) for one in seen] == [1, 2]
    assert [one.attribution.session_id for one in model.asked] == ["s1"] * 2
