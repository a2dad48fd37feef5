"""Offers a gateway to LiteLLM as a provider of its own.

register(gateway)
reply = await litellm.acompletion("devflow/auto", messages)
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from devflow_gateway.interop.frameworks import Clients, load_framework, make_clients

if TYPE_CHECKING:
    from devflow_gateway.async_gateway import AsyncGateway
    from devflow_gateway.gateway import Gateway

_CHAT = "chat/completions"
_EMBEDDINGS = "embeddings"
_DATA = "data: "
_END = "data: [DONE]"
_COST_HEADER = "x-devflow-cost-usd"


def register(gateway: AsyncGateway | Gateway, *, provider: str = "devflow") -> DevFlowLLM:
    """Register a gateway in `litellm.custom_provider_map`, and return its handler.

    Afterwards `acompletion`, its streams and `aembedding` take models that begin with
    `devflow/`, followed by any name that a request may have. The `response_cost` of whole replies
    and embeddings is the gateway's exact cost. An earlier provider of this name is replaced.

    Args:
        gateway: an `AsyncGateway`, entered before the first request, answers the asynchronous
            functions; a `Gateway`, entered before this call, answers both kinds. Close the handler
            before leaving it.
        provider: the prefix of the models' names, without the slash.

    Raises:
        ConfigurationError: `litellm` or `devflow-gateway-server` is not installed, or a `Gateway`
            has not been entered.
    """
    litellm = load_framework("litellm", "litellm")
    # LiteLLM takes instances of its own class only; what it inherits from there says "no" to the
    # calls that have no method here
    kind = type("DevFlowLLM", (DevFlowLLM, litellm.CustomLLM), {})
    handler = kind(make_clients(gateway), litellm)
    kept = [one for one in litellm.custom_provider_map if one["provider"] != provider]
    litellm.custom_provider_map = [*kept, {"provider": provider, "custom_handler": handler}]
    load_framework("litellm.utils", "litellm").custom_llm_setup()
    return handler


class DevFlowLLM:
    """Carries LiteLLM's calls out; LiteLLM calls the methods by the names of its `CustomLLM`.

    Args:
        clients: the clients that the gateway answers; closed by `aclose`.
        litellm: LiteLLM's module.
    """

    def __init__(self, clients: Clients, litellm: Any) -> None:
        self._clients = clients
        self._litellm = litellm

    async def aclose(self) -> None:
        """Close the handler; calls under way are cancelled."""
        self._clients.blocking.close()
        await self._clients.asynchronous.aclose()

    def completion(self, **call: Any) -> Any:
        """Return a whole reply as LiteLLM's `ModelResponse`."""
        reply = self._clients.blocking.post(_CHAT, **_request(call, is_stream=False))
        return self._whole(reply, self._litellm.ModelResponse)

    async def acompletion(self, **call: Any) -> Any:
        """Return a whole reply as LiteLLM's `ModelResponse`."""
        reply = await self._clients.asynchronous.post(_CHAT, **_request(call, is_stream=False))
        return self._whole(reply, self._litellm.ModelResponse)

    def streaming(self, **call: Any) -> Iterator[Any]:
        """Yield the chunks of a reply as LiteLLM's `ModelResponseStream`."""
        sent = _request(call, is_stream=True)
        with self._clients.blocking.stream("POST", _CHAT, **sent) as reply:
            if reply.is_error:
                reply.read()
                self._check(reply)
            for line in reply.iter_lines():
                yield from self._chunks(line)

    async def astreaming(self, **call: Any) -> AsyncIterator[Any]:
        """Yield the chunks of a reply as LiteLLM's `ModelResponseStream`."""
        sent = _request(call, is_stream=True)
        async with self._clients.asynchronous.stream("POST", _CHAT, **sent) as reply:
            if reply.is_error:
                await reply.aread()
                self._check(reply)
            async for line in reply.aiter_lines():
                for chunk in self._chunks(line):
                    yield chunk

    def embedding(self, **call: Any) -> Any:
        """Return vectors as LiteLLM's `EmbeddingResponse`."""
        reply = self._clients.blocking.post(_EMBEDDINGS, **_embedding_request(call))
        return self._whole(reply, self._litellm.EmbeddingResponse)

    async def aembedding(self, **call: Any) -> Any:
        """Return vectors as LiteLLM's `EmbeddingResponse`."""
        reply = await self._clients.asynchronous.post(_EMBEDDINGS, **_embedding_request(call))
        return self._whole(reply, self._litellm.EmbeddingResponse)

    def _whole(self, reply: Any, kind: Any) -> Any:
        self._check(reply)
        response = kind(**reply.json())
        cost = float(reply.headers[_COST_HEADER])
        response._hidden_params["response_cost"] = cost  # noqa: SLF001 - where LiteLLM looks for it
        return response

    def _check(self, reply: Any) -> None:
        if reply.is_error:
            raise self._failed(reply.status_code, reply.json()["error"])

    def _chunks(self, line: str) -> Iterator[Any]:
        if not line.startswith(_DATA) or line == _END:
            return
        found = json.loads(line.removeprefix(_DATA))
        if "error" in found:
            code = found["error"].get("code")
            raise self._failed(code if isinstance(code, int) else 502, found["error"])
        yield self._litellm.ModelResponseStream(**found)

    def _failed(self, status: int, error: Mapping[str, Any]) -> Exception:
        """Return the error that LiteLLM turns into one of its own classes, by the status."""
        made = load_framework("litellm.llms.custom_llm", "litellm").CustomLLMError(
            status_code=status, message=error["message"]
        )
        return cast("Exception", made)


def _request(call: Mapping[str, Any], *, is_stream: bool) -> dict[str, Any]:
    """Return the arguments of the client for a call of LiteLLM's, whose parameters are OpenAI's."""
    options = cast("dict[str, Any]", dict(call.get("optional_params") or {}))
    extra = cast("dict[str, Any]", options.pop("extra_body", None) or {})
    body = {"model": call["model"], "messages": call["messages"], **options, **extra}
    body["stream"] = is_stream
    if is_stream:
        body.setdefault("stream_options", {"include_usage": True})
    return {"json": body, **_transmission(call)}


def _embedding_request(call: Mapping[str, Any]) -> dict[str, Any]:
    options = cast("dict[str, Any]", call.get("optional_params") or {})
    body = {"model": call["model"], "input": call["input"], **options}
    return {"json": body, **_transmission(call)}


def _transmission(call: Mapping[str, Any]) -> dict[str, Any]:
    sent: dict[str, Any] = {"headers": dict(call.get("headers") or {})}
    timeout = call.get("timeout")
    if isinstance(timeout, int | float):
        sent["timeout"] = float(timeout)
    return sent
