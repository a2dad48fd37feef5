"""Provides three functions over a gateway, for programs that only need a reply.

Each takes an open gateway. Without one, a gateway is built from the environment for the call, which
fails at once if there is no key.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, Self, TypedDict

from devflow_core.errors import DevFlowError
from devflow_core.events import TextDelta
from devflow_core.ledger import LedgerEntry
from devflow_core.request import ChatRequest, ResponseFormat
from devflow_core.usage import usd_text

from devflow_openrouter.gateway import OpenRouterGateway
from devflow_openrouter.structured_output import parse_structured


class StreamEvent(TypedDict):
    """One event of `stream_llm_response`; `LlmStream` describes the data of each."""

    event: Literal["message_chunk", "final_response", "usage", "error"]
    data: Any


async def invoke_llm_for_raw_json(
    prompt: str,
    *,
    model: str = "auto",
    system: str | None = None,
    schema: dict[str, Any] | None = None,
    gateway: OpenRouterGateway | None = None,
) -> Any:
    """Return the validated JSON value of the reply; one repair is allowed, a second paid request.

    Args:
        prompt: what is asked.
        model: the model, or `auto`.
        system: a system prompt.
        schema: a JSON schema; None: any object is accepted.
        gateway: an open gateway; None: one is built for this call.

    Raises:
        InvalidRequest: the schema is invalid; nothing was sent.
        StructuredOutputInvalid: the second reply is not valid either.
        ConfigurationError: there is no key.
        DevFlowError: no model answered, or the reply broke off.
    """
    wanted = (
        ResponseFormat(kind="json_object")
        if schema is None
        else ResponseFormat(kind="json_schema", schema=schema, strict=True)
    )
    request = replace(
        ChatRequest.from_text(prompt, model=model, system=system), response_format=wanted
    )
    async with _open_gateway(gateway) as opened:
        completion = await opened.complete(request, repairs=1)
    return parse_structured(wanted, completion.text, model=completion.model)


async def get_llm_text_response(
    prompt: str,
    *,
    model: str = "auto",
    system: str | None = None,
    gateway: OpenRouterGateway | None = None,
) -> str:
    """Return the text of the reply.

    Args:
        prompt: what is asked.
        model: the model, or `auto`.
        system: a system prompt.
        gateway: an open gateway; None: one is built for this call.

    Raises:
        ConfigurationError: there is no key.
        DevFlowError: no model answered, or the reply broke off.
    """
    async with _open_gateway(gateway) as opened:
        request = ChatRequest.from_text(prompt, model=model, system=system)
        return (await opened.complete(request)).text


def stream_llm_response(
    prompt: str,
    *,
    model: str = "auto",
    system: str | None = None,
    gateway: OpenRouterGateway | None = None,
) -> LlmStream:
    """Stream the reply: iterate the result, inside `async with` if you may stop early.

    A failed call raises nothing: its last event is `error`.

    Args:
        prompt: what is asked.
        model: the model, or `auto`.
        system: a system prompt.
        gateway: an open gateway; None: one is built for this call, and closed at its end.

    Raises:
        ConfigurationError: there is no key; raised at once.
    """
    request = ChatRequest.from_text(prompt, model=model, system=system)
    opened = gateway or OpenRouterGateway.from_env()
    return LlmStream(_stream_events(opened, request, is_own=gateway is None))


class LlmStream:
    """The events of one reply: `message_chunk` holds a piece of text, `final_response` the whole.

    `usage` holds tokens and cost. A failure comes as `error` with `code` and `message`, and is then
    the last event.
    """

    def __init__(self, events: AsyncGenerator[StreamEvent]) -> None:
        self._events = events

    def __aiter__(self) -> AsyncIterator[StreamEvent]:
        return self

    async def __anext__(self) -> StreamEvent:
        return await anext(self._events)

    async def aclose(self) -> None:
        """Cancel the call upstream, unless it has ended; close a gateway built for it."""
        await self._events.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


async def _stream_events(
    gateway: OpenRouterGateway, request: ChatRequest, *, is_own: bool
) -> AsyncGenerator[StreamEvent]:
    texts: list[str] = []
    try:
        async with (
            gateway if is_own else nullcontext(gateway) as opened,
            opened.stream(request) as reply,
        ):
            async for event in reply:
                if isinstance(event, TextDelta):
                    texts.append(event.text)
                    yield {"event": "message_chunk", "data": event.text}
            yield {"event": "final_response", "data": "".join(texts)}
            if reply.entry is not None:
                yield {"event": "usage", "data": _usage_as_json(reply.entry)}
    except DevFlowError as error:
        yield {"event": "error", "data": {"code": error.code, "message": error.message}}


def _usage_as_json(entry: LedgerEntry) -> dict[str, object]:
    usage = entry.usage
    return {
        "model": entry.model,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "cost_usd": usd_text(entry.cost_usd),
    }


@asynccontextmanager
async def _open_gateway(gateway: OpenRouterGateway | None) -> AsyncGenerator[OpenRouterGateway]:
    """Yield the caller's gateway, or one that is built and closed for this call."""
    if gateway is not None:
        yield gateway
        return
    async with OpenRouterGateway.from_env() as own:
        yield own
