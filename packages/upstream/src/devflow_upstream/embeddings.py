"""Asks for embeddings as for any reply: routed to the named model, booked, and limited."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol, cast

from devflow_core.errors import InvalidRequest, ProtocolError
from devflow_core.events import Event, Finished, Opaque, Started
from devflow_core.ledger import LedgerEntry
from devflow_core.masking import Masker
from devflow_core.messages import JsonObject, Message, Text
from devflow_core.pipeline import Pipeline, Reply
from devflow_core.ports import Call, EventStream, Router, UpstreamKey
from devflow_core.request import ChatRequest
from devflow_core.routing import Candidate, Route, Task
from devflow_core.safe_text import clean_name, plain_word
from devflow_core.tokens import max_tokens
from devflow_core.usage import Price, Usage, parse_token_count
from devflow_core.wire import json_lenient as lenient
from devflow_core.wire.usage import parse_cost

_EVENT_KIND = "embeddings"
_TASK = Task(type="text_ops", complexity="low", confidence=1.0, reasons=("embeddings",))
_FIELDS = frozenset({
    "model", "input", "dimensions", "encoding_format", "input_type", "provider", "user",
})  # fmt: skip
"""Fields that cost nothing besides the input's tokens (the API's description of 2026-08-22)."""


class EmbeddingsClassifier:
    """Gives every embeddings request the same task, since its model is named anyway."""

    def classify(self, _request: ChatRequest, /) -> Task:
        return _TASK


class PricedModel(Protocol):
    """A row of the catalogue, reduced to what decides the cost of a call."""

    @property
    def id(self) -> str:
        """The id under which the model is asked."""
        ...

    @property
    def price(self) -> Price | None:
        """The model's price; None if it is unknown."""
        ...


class NamedModelRouter(Router):
    """A router that offers only the model that was named.

    Args:
        resolve: returns what an alias of the settings stands for; other names stay as they are.
        find: returns the model that a name stands for; None for an unknown name, which is passed on
            as it is.
    """

    def __init__(
        self, resolve: Callable[[str], str], find: Callable[[str], PricedModel | None]
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
    """The provider's embeddings endpoint, as `EmbeddingsUpstream` needs it."""

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


def _parse_usage(reported: Mapping[str, Any]) -> Usage | None:
    tokens = parse_token_count(reported.get("prompt_tokens"))
    return None if tokens is None else Usage(input_tokens=tokens)


def embeddings_request(model: str, body: JsonObject, given: Any) -> ChatRequest:
    """Return the request for a body of the embeddings endpoint; only its model may be replaced.

    Args:
        model: the model's id or alias.
        body: the whole body.
        given: its input: a text, or a list of texts or tokens.
    """
    text = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
    return ChatRequest(
        model=model,
        messages=(Message(role="user", parts=(Text(text=text),)),),
        extra=body,
        is_stream=False,
    )


async def read_embeddings(
    pipeline: Pipeline, request: ChatRequest, entry_id: str | None = None
) -> tuple[JsonObject, LedgerEntry]:
    """Ask once, and return the provider's reply with its entry in the ledger.

    Args:
        pipeline: built over `EmbeddingsUpstream` and `NamedModelRouter`.
        request: see `embeddings_request`.
        entry_id: the id to book under; None: a new one.

    Raises:
        DevFlowError: the call failed, or the provider sent something else.
    """
    return await collect_embeddings(pipeline.stream(request, entry_id=entry_id))


async def collect_embeddings(
    opened: AbstractAsyncContextManager[Reply],
) -> tuple[JsonObject, LedgerEntry]:
    """Return the provider's reply from its events, and its entry; see `read_embeddings`."""
    body: JsonObject | None = None
    async with opened as reply:
        async for event in reply:
            if isinstance(event, Opaque) and event.kind == _EVENT_KIND:
                body = event.body
    if body is None or reply.entry is None:
        raise ProtocolError("The provider sent no embeddings.")
    return body, reply.entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings:
    """The vectors of some texts, with the entry of their call in the ledger."""

    vectors: tuple[tuple[float, ...], ...]
    """One vector for each text, in the order given."""
    entry: LedgerEntry

    @property
    def model(self) -> str:
        """The model that answered."""
        return self.entry.model

    @property
    def usage(self) -> Usage:
        """The tokens of the call."""
        return self.entry.usage

    @property
    def cost_usd(self) -> Decimal:
        """The cost of the request in USD, including failed attempts."""
        return self.entry.cost_usd


def decode_embeddings(reply: JsonObject, entry: LedgerEntry, count: int) -> Embeddings:
    """Return the vectors of a reply.

    Args:
        reply: the provider's reply.
        entry: its entry in the ledger.
        count: how many texts were sent.

    Raises:
        ProtocolError: the reply does not hold one list of numbers for each text.
    """
    data: Any = reply.get("data")
    rows = cast("list[Any]", data) if isinstance(data, list) else []
    try:
        ordered = sorted(rows, key=lambda row: int(row["index"]))
        vectors = tuple(tuple(float(one) for one in row["embedding"]) for row in ordered)
    except (KeyError, TypeError, ValueError):
        vectors = ()
    if len(vectors) != count:
        raise ProtocolError(
            f"{entry.model} has sent no vector for each of the {count} texts.", model=entry.model
        )
    return Embeddings(vectors=vectors, entry=entry)


def check_texts(texts: str | Sequence[str]) -> list[str]:
    """Return the texts to embed as a list; a single text gives a list of one.

    Raises:
        InvalidRequest: there is no text, or one is empty or not a text.
    """
    given = [texts] if isinstance(texts, str) else list(texts)
    if not given or not all(isinstance(one, str) and one for one in given):
        raise InvalidRequest("texts: give a text or several, none of them empty.")
    return given
