"""Makes plain HTTP calls to OpenRouter, without policies: JSON or bytes in, JSON or bytes out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote, urlencode

import orjson
from devflow_core.errors import PossiblyAccepted, ProtocolError, UpstreamTimeout
from devflow_core.messages import JsonObject
from devflow_core.ports import UpstreamKey
from devflow_core.wire.errors import error_from_body
from devflow_upstream.reply_stream import read_all
from devflow_upstream.transport.protocol import HttpRequest, Transport

Query = Mapping[str, str | int | float | bool | None]
"""Parameters of a URL; those that are None are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppIdentity:
    """The name under which OpenRouter shows this program in its statistics."""

    url: str = ""
    """The program's address; empty: none is sent."""
    title: str = "DevFlow"


class JsonCalls:
    """The calls below one base URL, without policies and without a ledger.

    The `key` of a call is the key that it is sent with; None: it is sent without one.

    Args:
        transport: closed by its creator.
        app: sent with every call; None: the title `DevFlow` without an address.
        timeout_s: seconds for one attempt, in total; `get` may make two.
    """

    def __init__(
        self, transport: Transport, *, app: AppIdentity | None = None, timeout_s: float = 30.0
    ) -> None:
        self._transport = transport
        self._timeout_s = timeout_s
        app = app or AppIdentity()
        identity = {"HTTP-Referer": app.url, "X-OpenRouter-Title": app.title}
        self._headers = {
            "User-Agent": "devflow",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            **{name: value for name, value in identity.items() if value},
        }

    async def get(
        self, path: str, query: Query | None = None, *, key: UpstreamKey | None = None
    ) -> JsonObject:
        """GET a JSON object; retried once if the connection broke after the request was sent.

        Raises:
            UpstreamError: OpenRouter refused or failed; `UpstreamTimeout` after `timeout_s`.
            ProtocolError: the reply is not a JSON object.
        """
        target = with_query(path, query)
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

    async def send(
        self, method: str, path: str, body: JsonObject | None, key: UpstreamKey | None
    ) -> JsonObject:
        """Send any method with or without a body, as `post` does.

        Raises:
            UpstreamError: OpenRouter refused or failed; `UpstreamTimeout` after `timeout_s`.
            ProtocolError: the reply is not a JSON object.
        """
        content = b"" if body is None else orjson.dumps(body)
        return await self._request_json(method, path, content, key)

    async def fetch_bytes(
        self, method: str, path: str, body: JsonObject | None, key: UpstreamKey | None
    ) -> bytes:
        """Return the body of a reply that is not JSON: audio, video, a file.

        Raises:
            UpstreamError: OpenRouter refused or failed; `UpstreamTimeout` after `timeout_s`.
            ReplyTooLarge: the body is over the limit of the transport.
        """
        content = b"" if body is None else orjson.dumps(body)
        headers = {**self._build_headers(key), "Accept": "*/*"}
        status, reply_headers, reply = await self._exchange(method, path, content, headers)
        if status != 200:
            raise error_from_body(status, reply, reply_headers)
        return reply

    async def upload(
        self,
        path: str,
        file: tuple[str, bytes],
        fields: Mapping[str, str],
        key: UpstreamKey | None,
    ) -> JsonObject:
        """POST a file (its name and content) with further fields as a form; nothing is retried.

        Raises:
            UpstreamError: OpenRouter refused or failed; `UpstreamTimeout` after `timeout_s`.
            ProtocolError: the reply is not a JSON object.
        """
        import httpx  # slow to import, and only forms need it

        form = httpx.Request("POST", "http://form", data=dict(fields), files={"file": file})
        content_type = form.headers["content-type"]
        return await self._request_json("POST", path, form.read(), key, content_type)

    async def _request_json(
        self,
        method: str,
        path: str,
        body: bytes,
        key: UpstreamKey | None,
        content_type: str = "application/json",
    ) -> JsonObject:
        headers = {
            **self._build_headers(key),
            "Accept": "application/json",
            "Content-Type": content_type,
        }
        status, reply_headers, reply = await self._exchange(method, path, body, headers)
        return _decode_object(path.partition("?")[0], status, reply, reply_headers)

    async def _exchange(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Return status, headers and body of one exchange.

        Raises:
            UpstreamTimeout: it was not over after `timeout_s`.
            DevFlowError: any error of the transport.
        """
        request = HttpRequest(method=method, path=path, headers=headers, body=body)
        deadline_s = asyncio.get_running_loop().time() + self._timeout_s
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
                f"{path.partition('?')[0]} has not answered within {self._timeout_s:g} s. "
                "Try again."
            ) from error
        return status, reply_headers, reply

    def _build_headers(self, key: UpstreamKey | None) -> dict[str, str]:
        headers = dict(self._headers)
        if key is not None:
            headers["Authorization"] = f"Bearer {key.secret}"
        return headers


def with_query(path: str, query: Query | None) -> str:
    """Return a path with its parameters; booleans are written as JSON writes them."""
    given = {name: value for name, value in (query or {}).items() if value is not None}
    if not given:
        return path
    texts = {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in given.items()
    }
    return f"{path}?{urlencode(texts)}"


def path_of(template: str, **values: str) -> str:
    """Return a path whose `{names}` are replaced by values, which cannot add another segment."""
    return template.format(**{name: quote(value, safe="") for name, value in values.items()})


def _decode_object(name: str, status: int, body: bytes, headers: Mapping[str, str]) -> JsonObject:
    """Return the JSON object of a reply; raise its error, also one in a 200 without `data`."""
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
