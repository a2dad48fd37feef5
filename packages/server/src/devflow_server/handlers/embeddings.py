"""Handles `/v1/embeddings`: passes it to the named model, and books it like every call."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Protocol, cast

import orjson
from devflow_core.errors import InvalidRequest, ProtocolError
from devflow_core.events import Event, Finished, Opaque, Started
from devflow_core.ledger import Book, Ledger
from devflow_core.masking import Masker
from devflow_core.messages import JsonObject, Message, Text
from devflow_core.pipeline import Pipeline
from devflow_core.ports import Call, EventStream, Router, UpstreamKey
from devflow_core.request import ChatRequest
from devflow_core.routing import Candidate, Route, Task
from devflow_core.safe_text import clean_name, plain_word
from devflow_core.tokens import max_tokens
from devflow_core.usage import Usage, parse_token_count
from devflow_core.wire import json_lenient as lenient
from devflow_core.wire.common_fields import TEXT_SCHEMA
from devflow_core.wire.usage import parse_cost
from devflow_gateway import wiring
from devflow_gateway.wiring import AsyncGateway
from devflow_routing import ModelConfig, RoutingPolicy

from devflow_server.error_responses import id_headers
from devflow_server.replies.reply import metadata_from_entry
from devflow_server.requests.attribution import attribution_of
from devflow_server.requests.bodies import read_body
from devflow_server.requests.reader import read_max_cost, read_model, read_upstream_key
from devflow_server.routes import RequestContext

BODY_SCHEMA = {
    "required": ["model", "input"],
    "properties": {"model": TEXT_SCHEMA, "input": TEXT_SCHEMA},
}
"""JSON Schema of the part of the body that every client sends."""
_EVENT_KIND = "embeddings"
_TASK = Task(type="text_ops", complexity="low", confidence=1.0, reasons=("embeddings",))
_FIELDS = frozenset({
    "model", "input", "dimensions", "encoding_format", "input_type", "provider", "user",
})  # fmt: skip
"""Fields that cost nothing besides the input's tokens (the API's description of 2026-08-22)."""


class EmbeddingsClassifier:
    """Gives every embeddings request the same task, since there is no text to classify."""

    def classify(self, _request: ChatRequest, /) -> Task:
        return _TASK


class NamedModelRouter(Router):
    """A router that offers only the model that was named.

    Args:
        resolve: returns what an alias of the settings stands for; other names stay as they are.
        find: returns the model that a name stands for; None for an unknown name, which is passed on
            as it is.
    """

    def __init__(
        self, resolve: Callable[[str], str], find: Callable[[str], ModelConfig | None]
    ) -> None:
        self._resolve = resolve
        self._find = find

    def route(self, request: ChatRequest, task: Task, /) -> Route:
        name = self._resolve(request.model)
        known, reason = self._find(name), _unbounded_reason(request)
        model, price = (name, None) if known is None else (known.id, known.price)
        tokens = max_tokens(one.text for one in request.messages) + 1
        worst = None if price is None or reason else price.worst_case_usd(tokens, 0)
        named = Candidate(
            model=model,
            reason="asked for by name",
            price=price,
            input_tokens=tokens,
            worst_case_usd=worst,
            unpriced_reason=reason or f"the price of {model} is not known",
        )
        return Route(candidates=(named,), task=task, requested=request.model)


def _unbounded_reason(request: ChatRequest) -> str:
    """Return why the price does not bound this request's cost; empty if it does."""
    unknown = request.extra.keys() - _FIELDS
    if unknown:
        return f"it is not known what the field {plain_word(min(unknown))} costs; leave it out"
    given: Any = request.extra.get("input")
    if isinstance(given, list) and any(isinstance(one, dict) for one in cast("list[Any]", given)):
        return "input: only texts and tokens have a price that is known"
    return ""


class EmbeddingsApi(Protocol):
    """The provider's embeddings endpoint, as the handler needs it."""

    async def embeddings(self, body: JsonObject, key: UpstreamKey, /) -> JsonObject:
        """Return the provider's reply, whose `data` holds the vectors.

        Raises:
            DevFlowError: the provider refused or failed.
        """
        ...


class EmbeddingsUpstream:
    """Adapts the embeddings endpoint to `Upstream`, so that policies can be wrapped around it."""

    def __init__(self, api: EmbeddingsApi) -> None:
        self._api = api

    def open(self, call: Call, /) -> EventStream:
        return self._open(call)

    @asynccontextmanager
    async def _open(self, call: Call) -> AsyncGenerator[AsyncIterator[Event]]:
        if call.key is None:
            raise InvalidRequest("There is no key for this call.")
        body = {**call.request.extra, "model": call.candidate.model}
        reply = await self._api.embeddings(body, call.key)
        yield _reply_events(_clean_reply(reply))


def _clean_reply(reply: JsonObject) -> JsonObject:
    """Return the reply with names cleaned; `data`, most of it, is numbers and stays as received."""
    rest = {name: value for name, value in reply.items() if name != "data"}
    cleaned = cast("dict[str, Any]", Masker().mask_value(rest))
    for name in ("id", "model", "provider"):
        if isinstance(cleaned.get(name), str):
            cleaned[name] = clean_name(cleaned[name])
    return {**reply, **cleaned}


async def _reply_events(reply: JsonObject) -> AsyncIterator[Event]:
    usage = reply.get("usage")
    reported: Mapping[str, Any] = {}
    if isinstance(usage, Mapping):
        reported = cast("Mapping[str, Any]", usage)
    yield Started(
        generation_id=lenient.as_text(reply.get("id")), model=lenient.as_text(reply.get("model"))
    )
    yield Opaque(kind=_EVENT_KIND, body=reply)
    yield Finished(
        finish_reason="stop", usage=_parse_usage(reported), cost=parse_cost(reported, b"")
    )


def build_embeddings_pipeline(gateway: AsyncGateway, book: Book, ledger: Ledger) -> Pipeline:
    """Return a pipeline for embeddings, with the same policies as every call.

    Args:
        gateway: lends its keys, its policies and its list of models.
        book: where attempts and entries become durable.
        ledger: receives each entry once it is durable.
    """
    upstream = EmbeddingsUpstream(gateway.api)
    return Pipeline(
        classifier=EmbeddingsClassifier(),
        router=NamedModelRouter(
            RoutingPolicy(aliases=gateway.settings.aliases).resolve, gateway.catalogue.find_priced
        ),
        executor=wiring.make_executor(gateway, upstream),
        book=book,
        ledger=ledger,
        deadline_s=gateway.settings.total_timeout_s,
    )


class EmbeddingsHandler:
    """Answers the embeddings route.

    Args:
        pipeline: built over `EmbeddingsUpstream` and `NamedModelRouter`.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    async def __call__(self, context: RequestContext) -> None:
        """Answer one request.

        Raises:
            InvalidRequest: the model, the input or one of our headers is missing or malformed.
            DevFlowError: the call failed.
        """
        read = partial(_decode_request, context)
        request = await read_body(context.exchange.request.body, read)
        context.log_fields["requested"] = request.model
        reply: JsonObject | None = None
        async with self._pipeline.stream(request, entry_id=context.request_id) as stream:
            async for event in stream:
                if isinstance(event, Opaque) and event.kind == _EVENT_KIND:
                    reply = event.body
        entry = stream.entry
        if reply is None or entry is None:
            raise ProtocolError("The provider sent no embeddings.")
        metadata = metadata_from_entry(entry, "off")
        headers = [("content-type", "application/json"), *id_headers(context.request_id)]
        context.exchange.respond(200, orjson.dumps(reply), [*headers, *metadata.headers()])


def _decode_request(context: RequestContext, body: JsonObject) -> ChatRequest:
    """Return the request; its body is passed on unchanged.

    Raises:
        InvalidRequest: the model or the input is missing or malformed.
    """
    headers = context.exchange.request.headers
    model, given = body.get("model"), body.get("input")
    if not isinstance(model, str) or not model:
        raise InvalidRequest("model: send the id of a model for embeddings.")
    if not given or not isinstance(given, str | list):
        raise InvalidRequest("input: send a text or a list of texts.")
    text = given if isinstance(given, str) else orjson.dumps(given).decode()
    return ChatRequest(
        model=read_model(model),
        max_cost_usd=read_max_cost(headers),
        messages=(Message(role="user", parts=(Text(text=text),)),),
        extra=body,
        is_stream=False,
        allowed_models=context.caller.models,
        attribution=attribution_of(headers, body, client_key=context.caller.name, node=None),
        user_key=read_upstream_key(headers) or context.caller.upstream_key,
    )


def _parse_usage(reported: Mapping[str, Any]) -> Usage | None:
    tokens = parse_token_count(reported.get("prompt_tokens"))
    return None if tokens is None else Usage(input_tokens=tokens)
