"""Provides three functions over a gateway, for programs that only need a reply.

The two for text are called as `(model_name, system_prompt, user_prompt)`, the one for JSON with an
object that has these three; each also takes one prompt and keywords. Each takes an open gateway;
without one, a gateway is built from the environment for the call, which fails at once if there is
no key.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypedDict, cast

from devflow_core.errors import (
    AllCandidatesFailed,
    DevFlowError,
    KeyRefused,
    KeysExhausted,
    PaymentRequired,
    StructuredOutputInvalid,
)
from devflow_core.events import TextDelta
from devflow_core.ledger import LedgerEntry
from devflow_core.request import ChatRequest, ResponseFormat
from devflow_core.usage import usd_text

from devflow_openrouter.gateway import OpenRouterGateway
from devflow_openrouter.structured_output import parse_structured

SYSTEM_KEY_EXHAUSTED = "OPENROUTER_SYSTEM_KEY_EXHAUSTED"
"""The code of an `error` event when the gateway's own keys are spent or refused."""


class StreamEvent(TypedDict):
    """One event of `stream_llm_response`; `LlmStream` describes the data of each."""

    event: Literal["message_chunk", "final_response", "usage", "error"]
    data: dict[str, Any]


class LlmRequest(Protocol):
    """Anything with the three texts of a request; an empty system prompt is left out."""

    system_prompt: str | None
    user_prompt: str
    model_name: str


async def invoke_llm_for_raw_json(
    request: LlmRequest | Mapping[str, Any] | str | None = None,
    *,
    prompt: str | None = None,
    model: str = "auto",
    system: str | None = None,
    schema: dict[str, Any] | None = None,
    gateway: OpenRouterGateway | None = None,
) -> Any:
    """Return the JSON of the reply; one repair is allowed, which is a second paid request.

    Args:
        request: an object (or mapping) with `system_prompt`, `user_prompt` and `model_name`: the
            result is None if the second reply is not valid either. Or a prompt: that is an error.
        prompt: what is asked, if there is no `request`.
        model: the model for a prompt, or `auto`.
        system: the system prompt for a prompt.
        schema: a JSON schema that the value has to match; None: it has to be an object.
        gateway: an open gateway; None: one is built for this call.

    Raises:
        InvalidRequest: the schema is invalid; nothing was sent.
        StructuredOutputInvalid: a prompt was given, and the second reply is not valid either.
        ConfigurationError: there is no key, a setting is wrong, or the gateway is not open.
        DevFlowError: no model answered, or the reply broke off.
        TypeError: there is no prompt.
    """
    text = prompt if request is None else request
    if isinstance(text, str):
        chat = ChatRequest.from_text(text, model=model, system=system)
        return await _invoke(chat, schema, gateway)
    try:
        return await _invoke(_read_request(text), schema, gateway)
    except StructuredOutputInvalid:
        return None


async def _invoke(
    request: ChatRequest, schema: dict[str, Any] | None, gateway: OpenRouterGateway | None
) -> Any:
    wanted = (
        ResponseFormat(kind="json_object")
        if schema is None
        else ResponseFormat(kind="json_schema", schema=schema, strict=True)
    )
    async with _open_gateway(gateway) as opened:
        completion = await opened.complete(replace(request, response_format=wanted), repairs=1)
    return parse_structured(wanted, completion.text, model=completion.model)


async def get_llm_text_response(  # noqa: PLR0913 - two ways to call it
    model_name: str = "",
    system_prompt: str | None = None,
    user_prompt: str | None = None,
    *,
    prompt: str | None = None,
    model: str = "auto",
    system: str | None = None,
    gateway: OpenRouterGateway | None = None,
) -> str:
    """Return the text of the reply.

    Args:
        model_name: the model, empty for `auto`; alone, it is the prompt.
        system_prompt: a system prompt; empty: none.
        user_prompt: what is asked.
        prompt: what is asked, with `model` and `system` in place of the first three.
        model: the model, or `auto`.
        system: a system prompt.
        gateway: an open gateway; None: one is built for this call.

    Raises:
        ConfigurationError: there is no key, a setting is wrong, or the gateway is not open.
        DevFlowError: no model answered, or the reply broke off.
        TypeError: there is no prompt, or the two ways to call are mixed.
    """
    texts = (model_name, system_prompt, user_prompt)
    request = _make_request(texts, prompt=prompt, model=model, system=system)
    async with _open_gateway(gateway) as opened:
        return (await opened.complete(request)).text


def stream_llm_response(  # noqa: PLR0913 - two ways to call it
    model_name: str = "",
    system_prompt: str | None = None,
    user_prompt: str | None = None,
    *,
    prompt: str | None = None,
    model: str = "auto",
    system: str | None = None,
    gateway: OpenRouterGateway | None = None,
) -> LlmStream:
    """Stream the reply: iterate over the result, inside `async with` if you may stop early.

    A failed call raises nothing: its last event is `error`.

    Args:
        model_name: the model, empty for `auto`; alone, it is the prompt.
        system_prompt: a system prompt; empty: none.
        user_prompt: what is asked.
        prompt: what is asked, with `model` and `system` in place of the first three.
        model: the model, or `auto`.
        system: a system prompt.
        gateway: an open gateway; None: one is built for this call, and closed at its end.

    Raises:
        ConfigurationError: there is no key, or a setting is wrong; raised at once.
        TypeError: there is no prompt, or the two ways to call are mixed; raised at once.
    """
    texts = (model_name, system_prompt, user_prompt)
    request = _make_request(texts, prompt=prompt, model=model, system=system)
    opened = gateway or OpenRouterGateway.from_env()
    return LlmStream(_stream_events(opened, request, is_own=gateway is None))


class LlmStream:
    """The events of one reply, as an asynchronous generator.

    `message_chunk` holds a piece of text as `chunk`, `final_response` all of it as `response`.
    `usage` holds `usage` (tokens), `model`, `provider`, `id` and `cost_usd` (text). A failure is an
    `error` with `error`, `message` (the same) and `code`, which is then the last event; the code is
    `OPENROUTER_SYSTEM_KEY_EXHAUSTED` if the gateway's own keys are spent or refused.
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


def error_event_data(error: DevFlowError) -> dict[str, str]:
    """Return the data of an `error` event, for a request with the gateway's own keys."""
    code = SYSTEM_KEY_EXHAUSTED if _is_system_key_exhausted(error) else error.code
    return {"error": error.message, "code": code, "message": error.message}


def _is_system_key_exhausted(error: DevFlowError) -> bool:
    """Return whether the gateway's own keys are spent or refused: a person has to act."""
    if isinstance(error, AllCandidatesFailed):
        return all(_is_system_key_exhausted(one) for one in error.errors)
    if isinstance(error, KeysExhausted):
        return error.code == SYSTEM_KEY_EXHAUSTED
    return isinstance(error, KeyRefused | PaymentRequired)


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
                    yield {"event": "message_chunk", "data": {"chunk": event.text}}
            yield {"event": "final_response", "data": {"response": "".join(texts)}}
            if reply.entry is not None:
                yield {"event": "usage", "data": _usage_event_data(reply.entry)}
    except DevFlowError as error:
        yield {"event": "error", "data": error_event_data(error)}


def _usage_event_data(entry: LedgerEntry) -> dict[str, object]:
    usage, last = entry.usage, entry.final_attempt
    return {
        "usage": {
            "total_tokens": usage.total_tokens,
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "cache_read": usage.cache_read_tokens,
            "cache_write": usage.cache_write_tokens,
        },
        "model": entry.model,
        "provider": last.provider if last else None,
        "id": last.generation_id if last else None,
        "cost_usd": usd_text(entry.cost_usd),
    }


def _make_request(
    texts: tuple[str, str | None, str | None],
    *,
    prompt: str | None,
    model: str,
    system: str | None,
) -> ChatRequest:
    """Return the request of either way to call: three texts, or one prompt and keywords.

    Raises:
        TypeError: it is neither.
    """
    first, system_prompt, user_prompt = texts
    if user_prompt is not None and prompt is None:
        return ChatRequest.from_text(
            user_prompt, model=first or "auto", system=system_prompt or None
        )
    if user_prompt is None and system_prompt is None and bool(first) != (prompt is not None):
        return ChatRequest.from_text(prompt or first, model=model, system=system)
    raise TypeError("Pass model_name, system_prompt and user_prompt, or one prompt and keywords.")


def _read_request(request: object) -> ChatRequest:
    """Return the request that an object or a mapping describes.

    Raises:
        TypeError: it has no `user_prompt`.
    """
    if isinstance(request, Mapping):
        fields = cast("Mapping[str, Any]", request)
    else:
        names = ("model_name", "system_prompt", "user_prompt")
        fields = {name: getattr(request, name, None) for name in names}
    prompt = fields.get("user_prompt")
    if not isinstance(prompt, str):
        raise TypeError("The request needs user_prompt, and may have system_prompt and model_name.")
    return ChatRequest.from_text(
        prompt,
        model=fields.get("model_name") or "auto",
        system=fields.get("system_prompt") or None,
    )


@asynccontextmanager
async def _open_gateway(gateway: OpenRouterGateway | None) -> AsyncGenerator[OpenRouterGateway]:
    """Yield the caller's gateway, or one that is built and closed for this call."""
    if gateway is not None:
        yield gateway
        return
    async with OpenRouterGateway.from_env() as own:
        yield own
