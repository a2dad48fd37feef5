"""Makes single attempts over HTTP, without policies: calls to models and all other endpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import structlog
from devflow_core.messages import JsonObject
from devflow_core.ports import Call, EventStream
from devflow_core.request import ChatRequest
from devflow_core.wire import Dialect
from devflow_core.wire.table import dialect_of
from devflow_upstream.reply_stream import Deadlines, ReplyStream
from devflow_upstream.transport.protocol import HttpRequest, Transport

from devflow_openrouter.client.account_calls import AccountCalls
from devflow_openrouter.client.catalogue_calls import CatalogueCalls
from devflow_openrouter.client.inference_calls import InferenceCalls
from devflow_openrouter.client.json_calls import AppIdentity

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
_MAX_SESSION_CHARS = 256
"""The longest `x-session-id` (OpenRouter's description of 2026-08-22); longer ones are not sent."""


class ApiClient(InferenceCalls, CatalogueCalls, AccountCalls):
    """OpenRouter's endpoints over a transport: an `Upstream`, with a method for each operation.

    `data/operations.json` names the method of each operation that a user key may call; what needs a
    management key is `ManagementClient`.

    A request is sent in the dialect it came in, if OpenRouter speaks that, so that nothing is lost
    in translation; otherwise as chat completions. Replies are always requested as a stream. Every
    JSON call raises what `post` raises.

    Args:
        transport: closed by its creator.
        deadlines: the deadlines of streamed replies.
        app: sent with every call; None: the title `DevFlow` without an address.
        timeout_s: seconds for one attempt at a JSON call, in total.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        deadlines: Deadlines | None = None,
        app: AppIdentity | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        super().__init__(transport, app=app, timeout_s=timeout_s)
        self._deadlines = deadlines or Deadlines()

    def open(self, call: Call, /) -> EventStream:
        """Return the reply to one attempt, sent on entry with the call's key, without policies."""
        request, candidate = call.request, call.candidate
        dialect = dialect_of(request)
        encoded = dialect.encode_request(request, candidate.model, _body_overrides(call, dialect))
        call.journal.omitted = omitted = call.omitted + encoded.omitted
        if omitted:
            _log.info("request.omitted", model=candidate.model, omitted=list(omitted))
        headers = self._build_headers(call.key)
        headers["Accept"] = "text/event-stream"
        if request.origin:
            headers.update(request.origin.headers)
        session_id = request.attribution.session_id
        if session_id and len(session_id) <= _MAX_SESSION_CHARS:
            headers["x-session-id"] = session_id  # keeps a conversation at the provider it warmed
        http = HttpRequest(method="POST", path=dialect.path, headers=headers, body=encoded.body)
        return ReplyStream(self._transport, http, call, dialect, self._deadlines)


def _body_overrides(call: Call, dialect: Dialect) -> JsonObject | None:
    """Return the fields set besides the request: provider preferences and a limit on the reply.

    None if there are none.
    """
    request, candidate = call.request, call.candidate
    overrides: dict[str, Any] = {}
    # the caller knows more than the route does, so their preferences win
    preferences = {**(candidate.provider or {}), **_provider_preferences(request)}
    if request.response_format and request.response_format.kind == "json_schema":
        # otherwise OpenRouter may choose a provider that ignores the schema
        preferences.setdefault("require_parameters", True)
    if preferences:
        overrides["provider"] = preferences
    most = candidate.max_output_tokens if request.max_output_tokens is None else None
    if request.max_cost_usd is not None and most is not None:
        # the worst case was computed with this limit on the output
        overrides[dialect.output_limit_field] = most
    return overrides or None


def _provider_preferences(request: ChatRequest) -> Mapping[str, Any]:
    body = request.origin.body if request.origin else None
    for source in (body, request.extra):
        preferences = source.get("provider") if source else None
        if isinstance(preferences, Mapping):
            return cast("Mapping[str, Any]", preferences)
    return {}
