"""Lets a model call tools until it has answered: asks, runs what it calls, and asks again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Any, Unpack, cast

from devflow_core.call_arguments import UsdAmount, read_usd
from devflow_core.errors import InvalidRequest, UpstreamTimeout
from devflow_core.ledger import LedgerEntry
from devflow_core.messages import Message, Text, ToolCall, ToolResult
from devflow_core.pipeline import Completion
from devflow_core.ports import ContextInjector
from devflow_core.request import ChatRequest, ToolChoice

from devflow_gateway.calls.arguments import LabelArguments
from devflow_gateway.calls.function_tools import FunctionTool, tool
from devflow_gateway.calls.main_provider import BaseGateway
from devflow_gateway.calls.spending import limit_spending

DEFAULT_ROUNDS = 10
"""The number of requests that a run may make by default."""
DEFAULT_DEADLINE_S = 600.0
"""The seconds that a run may take by default."""
MAX_ROUNDS = 100
"""The highest `max_rounds` that a run accepts."""
MAX_PARALLEL = 32
"""The most calls of one reply that run at once; the others wait for a place."""

AnyTool = FunctionTool[..., Any] | Callable[..., Any]
Ask = Callable[[ChatRequest], Awaitable[Completion]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRun:
    """A conversation in which a model has called tools, as far as it has come."""

    messages: tuple[Message, ...]
    """The whole conversation: what was sent, every call and result, and the last reply."""
    completions: tuple[Completion, ...]
    """Every reply, in order."""

    @property
    def completion(self) -> Completion:
        """The last reply so far; the tools that it calls, if any, have not been run."""
        return self.completions[-1]

    @property
    def text(self) -> str:
        """The text of the last reply, without reasoning."""
        return self.completion.text

    @property
    def entries(self) -> tuple[LedgerEntry, ...]:
        """The entries in the ledger, one for each reply."""
        return tuple(one.entry for one in self.completions)

    @property
    def cost_usd(self) -> Decimal:
        """What all replies have cost in USD, failed attempts included."""
        return sum((one.cost_usd for one in self.completions), Decimal(0))


async def run_tool_rounds(
    ask: Ask,
    request: ChatRequest,
    tools: Sequence[AnyTool],
    *,
    max_rounds: int = DEFAULT_ROUNDS,
    deadline_s: float = DEFAULT_DEADLINE_S,
    on_round: Callable[[ToolRun], None] | None = None,
) -> ToolRun:
    """Ask, run the tools that the reply calls, and ask again, until a reply calls none.

    The calls of one reply run together. A failure of a tool goes back to the model as its result.
    The last of several rounds forbids calls, so that it brings an answer; a single round allowed
    (`max_rounds=1`) permits them, and they are not run.

    Args:
        ask: returns the whole reply to a request.
        request: what is asked; the tools are added to its own, whose calls are answered by an
            error.
        tools: functions, or what `tool` made of them.
        max_rounds: how many requests may be made, 1 to 100.
        deadline_s: how long the run may take in all, in seconds.
        on_round: called after each reply with the run so far, which is otherwise lost by an error.

    Raises:
        InvalidRequest: an argument is out of range, two tools share a name, or a function cannot
            become a tool; nothing was sent.
        UpstreamTimeout: the deadline passed; calls and tools in flight were cancelled.
        DevFlowError: a request failed; the tools before it have run.
    """
    if not 1 <= max_rounds <= MAX_ROUNDS:
        raise InvalidRequest(f"max_rounds: send a number from 1 to {MAX_ROUNDS}.")
    if not deadline_s > 0:
        raise InvalidRequest("deadline_s: send a number of seconds above 0.")
    by_name = _by_name(request, tools)
    definitions = tuple(one.definition for one in by_name.values())
    # with_messages: a body that came from elsewhere does not have the tools
    request = replace(request.with_messages(request.messages), tools=request.tools + definitions)
    runner = _Runner(ask, by_name, max_rounds, on_round)
    limit = asyncio.timeout(deadline_s)
    try:
        async with limit:
            return await runner.run(request)
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise UpstreamTimeout(
            f"The model and its tools took longer than {deadline_s:g} s. Allow more with "
            "deadline_s, or ask for less; what was made so far is in the ledger."
        ) from error


class _Runner:
    """One run: the tools by name, and what is done with each reply."""

    def __init__(
        self,
        ask: Ask,
        by_name: dict[str, FunctionTool[..., Any]],
        max_rounds: int,
        on_round: Callable[[ToolRun], None] | None,
    ) -> None:
        self._ask = ask
        self._by_name = by_name
        self._max_rounds = max_rounds
        self._on_round = on_round
        self._places = asyncio.Semaphore(MAX_PARALLEL)

    async def run(self, request: ChatRequest) -> ToolRun:
        completions: tuple[Completion, ...] = ()
        while True:
            if len(completions) == self._max_rounds - 1 and completions:
                request = replace(request, tool_choice=ToolChoice(mode="none"))
            completion = await self._ask(request)
            completions = (*completions, completion)
            said = Message(role="assistant", parts=completion.parts)
            state = ToolRun(messages=(*request.messages, said), completions=completions)
            if self._on_round is not None:
                self._on_round(state)
            if not completion.tool_calls or len(completions) == self._max_rounds:
                return state
            results = await asyncio.gather(*map(self._run_tool, completion.tool_calls))
            answer = Message(role="user", parts=tuple(results))
            request = _next_request(request.with_messages((*state.messages, answer)))

    async def _run_tool(self, call: ToolCall) -> ToolResult:
        known = self._by_name.get(call.name)
        if known is None:
            names = ", ".join(self._by_name)
            text = f"There is no tool {call.name!r}. There are: {names}."
            return ToolResult(call_id=call.id, parts=(Text(text=text),), is_error=True)
        async with self._places:
            return await known.run(call)


def _next_request(request: ChatRequest) -> ChatRequest:
    """Return the request without a choice that would force a call in every round."""
    choice = request.tool_choice
    if choice is not None and choice.mode in ("required", "tool"):
        return replace(request, tool_choice=None)
    return request


def _as_tool(one: AnyTool) -> FunctionTool[..., Any]:
    return cast("FunctionTool[..., Any]", one) if isinstance(one, FunctionTool) else tool(one)


def _by_name(request: ChatRequest, tools: Sequence[AnyTool]) -> dict[str, FunctionTool[..., Any]]:
    by_name: dict[str, FunctionTool[..., Any]] = {}
    taken = {one.name for one in request.tools}
    for one in tools:
        made: FunctionTool[..., Any] = _as_tool(one)
        if made.name in taken:
            raise InvalidRequest(
                f"Two tools are called {made.name!r}. Give one another name: tool(function, "
                "name=…)."
            )
        taken.add(made.name)
        by_name[made.name] = made
    return by_name


async def run_tools(  # noqa: PLR0913 - the arguments that every call takes
    gateway: BaseGateway,
    request: ChatRequest,
    tools: Sequence[AnyTool],
    *,
    max_rounds: int = DEFAULT_ROUNDS,
    deadline_s: float = DEFAULT_DEADLINE_S,
    on_round: Callable[[ToolRun], None] | None = None,
    session: ContextInjector | None = None,
    max_cost_usd: UsdAmount | None = None,
    **labels: Unpack[LabelArguments],
) -> ToolRun:
    """Run a conversation with tools through a gateway; see `run_tool_rounds`.

    Args:
        gateway: asks the models; it is not closed here.
        request: what is asked.
        tools: functions, or what `tool` made of them.
        max_rounds: how many requests may be made, 1 to 100.
        deadline_s: how long the run may take in all, in seconds.
        on_round: called after each reply with the run so far, which is otherwise lost by an error.
        session: adds the context of a session to the first request, and so to all.
        max_cost_usd: the most that all requests may cost together, in USD; None: no limit.
        labels: criteria, project and tags of every request.

    Raises:
        InvalidRequest: as of `run_tool_rounds`, or the limit is not an amount.
        BudgetExceeded: the next request may cost more than is left.
        UpstreamTimeout: the deadline passed.
        DevFlowError: a request failed; the tools before it have run.
    """
    ask: Ask = partial(gateway.complete, **labels)
    if max_cost_usd is not None:
        view, limit = limit_spending(gateway, read_usd(max_cost_usd, "max_cost_usd"))

        async def ask_within(bounded: ChatRequest) -> Completion:
            return await view.complete(limit.bound(bounded), **labels)

        ask = ask_within
    if session is not None:
        request = await session.inject(request)
    return await run_tool_rounds(
        ask, request, tools, max_rounds=max_rounds, deadline_s=deadline_s, on_round=on_round
    )
