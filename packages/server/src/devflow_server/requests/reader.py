"""Turns a client's request into a `ChatRequest`, with its labels and limits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from devflow_core.errors import InvalidRequest
from devflow_core.messages import JsonObject
from devflow_core.request import ChatRequest, Origin
from devflow_core.usage import parse_amount
from devflow_core.wire.anthropic_messages import ANTHROPIC_MESSAGES
from devflow_core.wire.anthropic_messages.resumable import name_at_anthropic

from devflow_server.http.message import UPSTREAM_KEY_HEADER
from devflow_server.requests.attribution import attribution_of, is_claude_code, node_of
from devflow_server.requests.bodies import read_body
from devflow_server.requests.nodes import NodeTable
from devflow_server.routes import RequestContext

DISCOVERY_PREFIX = "claude-via-devflow/"
"""Claude Code lists only models whose id contains `claude` or `anthropic`; others get this prefix.
"""

_MODEL_PATTERN = re.compile(r"[\w.:/@+~\[\]-]{1,200}")
# W3C Trace Context, section 3.2
_TRACEPARENT_PATTERN = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_UPSTREAM_KEY_PATTERN = re.compile(r"[\x21-\x7e]{8,512}")


class RequestReader:
    """Reads chat requests of every dialect.

    Args:
        nodes: the model and the weights of each named task.
    """

    def __init__(self, nodes: NodeTable) -> None:
        self._nodes = nodes

    async def read(self, context: RequestContext) -> ChatRequest:
        """Return the request; a large one is parsed in a thread.

        Raises:
            InvalidRequest: the body or one of our headers is wrong.
            MemoryError: no thread could be started.
        """
        headers = context.exchange.request.headers
        decode = context.dialect.decode_request

        def read_both(body: JsonObject) -> tuple[JsonObject, ChatRequest]:
            return body, decode(body, headers)

        body, request = await read_body(context.exchange.request.body, read_both)
        if "verify" in body:
            raise InvalidRequest(
                "verify: a server runs no command for a request. Ask for the model"
                " auto:verified, and run your own check where you are: with `devflow ask --verify`,"
                " or `verification=` in Python."
            )
        node = node_of(headers, request.model)
        request = replace(
            request,
            model=read_model(request.model),
            attribution=attribution_of(headers, body, client_key=context.caller.name, node=node),
            user_key=read_upstream_key(headers) or context.caller.upstream_key,
            max_cost_usd=read_max_cost(headers),
            allowed_models=context.caller.models,
            origin=_with_trace_context(_mark_resumable(request, headers), headers),
        )
        # last, so that a node's model and weights replace those that the client sent
        if node is not None:
            request = self._nodes.apply(node, request)
        return request


def read_model(model: str) -> str:
    """Return the model's id without what clients add: `DISCOVERY_PREFIX`, and Claude Code's `[1m]`.

    Raises:
        InvalidRequest: the text is not a model id.
    """
    if not _MODEL_PATTERN.fullmatch(model):
        raise InvalidRequest("model: this is not a model id.")
    return model.removeprefix(DISCOVERY_PREFIX).removesuffix("[1m]")


def read_upstream_key(headers: Mapping[str, str]) -> str | None:
    """Return the caller's own provider key for this request; None if it sent none.

    Raises:
        InvalidRequest: the header's value is not a key.
    """
    key = headers.get(UPSTREAM_KEY_HEADER)
    if key is not None and not _UPSTREAM_KEY_PATTERN.fullmatch(key):
        raise InvalidRequest(f"{UPSTREAM_KEY_HEADER}: this is not a key of the provider.")
    return key


def read_max_cost(headers: Mapping[str, str]) -> Decimal | None:
    """Return the request's own cost limit in USD; None without one.

    Raises:
        InvalidRequest: the header's value is not an amount.
    """
    text = headers.get("x-devflow-max-cost-usd")
    if text is None:
        return None
    usd = parse_amount(text)
    if usd is None:
        raise InvalidRequest("X-DevFlow-Max-Cost-Usd: send an amount in USD, as 0.25.")
    return usd


def _mark_resumable(request: ChatRequest, headers: Mapping[str, str]) -> Origin | None:
    """Return the origin, marked if the client is Claude Code, which resumes its sessions anywhere.

    Programs that use Anthropic's SDK get the real model, and all of its reasoning.
    """
    origin = request.origin
    if origin is None or origin.wire != ANTHROPIC_MESSAGES.name or not is_claude_code(headers):
        return origin
    return replace(origin, resumable_as=name_at_anthropic(request.model))


def _with_trace_context(origin: Origin | None, headers: Mapping[str, str]) -> Origin | None:
    """Return the origin with a well-formed W3C trace context, which is passed on upstream."""
    parent = headers.get("traceparent")
    if origin is None or parent is None or not _TRACEPARENT_PATTERN.fullmatch(parent):
        return origin
    return replace(origin, headers=(*origin.headers, ("traceparent", parent)))
