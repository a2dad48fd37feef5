"""Makes single attempts over HTTP, without policies: calls to models and all other endpoints."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote, urlencode

import orjson
import structlog
from devflow_core.errors import PossiblyAccepted, ProtocolError, UpstreamTimeout
from devflow_core.messages import JsonObject
from devflow_core.ports import Call, EventStream, UpstreamKey
from devflow_core.request import ChatRequest
from devflow_core.wire import Dialect
from devflow_core.wire.errors import error_from_body
from devflow_core.wire.table import dialect_of
from devflow_upstream.reply_stream import Deadlines, ReplyStream, read_all
from devflow_upstream.transport.protocol import HttpRequest, Transport

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
_MAX_SESSION_CHARS = 256
"""The longest `x-session-id` (OpenRouter's description of 2026-08-22)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppIdentity:
    """The name under which OpenRouter shows this program in its statistics."""

    url: str = ""
    """The program's URL; empty: none is sent."""
    title: str = "DevFlow"


class ApiClient:
    """OpenRouter's endpoints over a transport: an `Upstream`, with methods for JSON calls.

    A request is sent in the dialect it came in, if OpenRouter speaks that, so that nothing is lost
    in translation; otherwise as chat completions. Replies are always requested as a stream. Every
    JSON call raises what `post` raises.

    Args:
        transport: closed by its creator.
        deadlines: the deadlines of streamed replies.
        app: sent with every call.
        timeout_s: for a JSON call, in total.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        deadlines: Deadlines | None = None,
        app: AppIdentity | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        self._transport = transport
        self._deadlines = deadlines or Deadlines()
        self._timeout_s = timeout_s
        app = app or AppIdentity()
        identity = {"HTTP-Referer": app.url, "X-OpenRouter-Title": app.title}
        self._headers = {
            "User-Agent": "devflow",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            **{name: value for name, value in identity.items() if value},
        }

    def open(self, call: Call, /) -> EventStream:
        """Send the call once, with the key it carries; no policy is applied."""
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

    # the catalogue

    async def models(self, output: str = "all", *, key: UpstreamKey | None = None) -> JsonObject:
        """Return the catalogue: `data` is the list of models; no key is needed.

        Args:
            output: a kind of output (`text`, `embeddings`…), or `all`.
            key: the key that the call is counted for.

        Raises:
            UpstreamError: OpenRouter does not answer.
        """
        return await self.get("/models", {"output_modalities": output}, key=key)

    async def model(self, model: str, *, key: UpstreamKey | None = None) -> JsonObject:
        """Return one model by its id or alias: `data` is its row; no key is needed.

        Raises:
            ModelUnavailable: there is no such model.
            UpstreamError: OpenRouter does not answer.
        """
        return await self.get(f"/model/{quote(model)}", key=key)

    async def endpoints(self, model: str, *, key: UpstreamKey | None = None) -> JsonObject:
        """Return the providers of a model: `data.endpoints` has their prices, limits and speed.

        Raises:
            ModelUnavailable: there is no such model.
            UpstreamError: OpenRouter does not answer.
        """
        return await self.get(f"/models/{quote(model)}/endpoints", key=key)

    async def zero_retention_endpoints(self, *, key: UpstreamKey | None = None) -> JsonObject:
        """Return the endpoints of all models that keep no data, as `data`; no key is needed."""
        return await self.get("/endpoints/zdr", key=key)

    async def providers(self, *, key: UpstreamKey | None = None) -> JsonObject:
        """Return all providers with their policies, as the list `data`."""
        return await self.get("/providers", key=key)

    # the account

    async def key_status(self, key: UpstreamKey) -> JsonObject:
        """Return the limits and usage of a key, as the object `data`; amounts are in USD."""
        return await self.get("/key", key=key)

    async def credits(self, key: UpstreamKey) -> JsonObject:
        """Return the purchased and used credits in USD, as `data`; needs a management key."""
        return await self.get("/credits", key=key)

    async def activity(self, key: UpstreamKey, date: str | None = None) -> JsonObject:
        """Return usage by day, model and provider over 30 completed UTC days, as the list `data`.

        Args:
            key: a management key.
            date: one day, `YYYY-MM-DD`; None: all 30.
        """
        return await self.get("/activity", {"date": date} if date else None, key=key)

    async def generation(self, generation_id: str, key: UpstreamKey) -> JsonObject:
        """Return the cost and the tokens of one call, as the object `data`.

        Raises:
            ModelUnavailable: the call is unknown, as it is for some minutes after it was made
                (404).
            UpstreamError: the key is refused, or OpenRouter does not answer.
        """
        return await self.get("/generation", {"id": generation_id}, key=key)

    # other calls to models: JSON in, JSON out

    async def embeddings(self, body: JsonObject, key: UpstreamKey) -> JsonObject:
        """Return vectors for texts; `body` is OpenAI's request for embeddings."""
        return await self.post("/embeddings", body, key=key)

    async def rerank(self, body: JsonObject, key: UpstreamKey) -> JsonObject:
        """Return documents in order of relevance."""
        return await self.post("/rerank", body, key=key)

    async def images(self, body: JsonObject, key: UpstreamKey) -> JsonObject:
        """Return images for a prompt."""
        return await self.post("/images", body, key=key)

    async def transcriptions(self, body: JsonObject, key: UpstreamKey) -> JsonObject:
        """Return the text of speech; the audio is sent in base64 in the body."""
        return await self.post("/audio/transcriptions", body, key=key)

    # every JSON call

    async def get(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        key: UpstreamKey | None = None,
    ) -> JsonObject:
        """GET a JSON object; retried once if the connection broke after the request was sent.

        Raises:
            UpstreamError: OpenRouter refused or failed; `UpstreamTimeout` after `timeout_s`.
            ProtocolError: the reply is not a JSON object.
        """
        target = f"{path}?{urlencode(query)}" if query else path
        try:
            return await self._request_json("GET", target, b"", key)
        except PossiblyAccepted:
            return await self._request_json("GET", target, b"", key)

    async def post(
        self, path: str, body: JsonObject, *, key: UpstreamKey | None = None
    ) -> JsonObject:
        """POST a JSON object and return the JSON object of the reply; nothing is retried.

        Raises:
            UpstreamError: OpenRouter refused or failed; `UpstreamTimeout` after `timeout_s`.
            ProtocolError: the reply is not a JSON object.
        """
        return await self._request_json("POST", path, orjson.dumps(body), key)

    async def _request_json(
        self, method: str, path: str, body: bytes, key: UpstreamKey | None
    ) -> JsonObject:
        headers = {**self._build_headers(key), "Accept": "application/json"}
        request = HttpRequest(method=method, path=path, headers=headers, body=body)
        deadline_s = asyncio.get_running_loop().time() + self._timeout_s
        name = path.partition("?")[0]
        try:
            exchange = await self._transport.start(request, deadline_s=deadline_s)
            status, reply_headers = exchange.status, exchange.headers
            try:
                reply = await read_all(exchange)
            finally:
                # a body that was read to its end leaves the connection reusable all the same
                await exchange.close(is_complete=False)
        except TimeoutError as error:
            raise UpstreamTimeout(
                f"{name} has not answered within {self._timeout_s:g} s. Try again."
            ) from error
        return _decode_object(name, status, reply, reply_headers)

    def _build_headers(self, key: UpstreamKey | None) -> dict[str, str]:
        headers = dict(self._headers)
        if key is not None:
            headers["Authorization"] = f"Bearer {key.secret}"
        return headers


def _decode_object(name: str, status: int, body: bytes, headers: Mapping[str, str]) -> JsonObject:
    """Return the JSON object of a reply; raise its error, including one inside a 200."""
    if status >= 400:
        raise error_from_body(status, body, headers)
    try:
        parsed: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        message = f"{name} answered with something other than JSON."
        raise ProtocolError(message, status=status) from error
    if status >= 300 or not isinstance(parsed, dict):
        raise ProtocolError(f"{name} answered {status} without a JSON object.", status=status)
    parsed = cast("dict[str, Any]", parsed)
    if "error" in parsed and parsed["error"] and "data" not in parsed:
        raise error_from_body(status, body, headers)
    return parsed


def _body_overrides(call: Call, dialect: Dialect) -> JsonObject | None:
    """Return the fields set besides the request: provider preferences and a limit on the reply."""
    request, candidate = call.request, call.candidate
    overrides: dict[str, Any] = {}
    # the candidate's preferences, then the caller's
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
