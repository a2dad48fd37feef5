"""Offers the service object: chat completions with one key, for applications with a web face."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, cast

import orjson
import structlog
from devflow_core.errors import ConfigurationError, DevFlowError
from devflow_core.masking import mask
from devflow_core.messages import JsonObject
from devflow_core.pipeline import Completion
from devflow_core.request import ChatRequest
from devflow_core.settings import Settings
from devflow_core.usage import usd_text
from devflow_core.wire.openai_chat import OPENAI_CHAT

from devflow_openrouter.gateway import OpenRouterGateway
from devflow_openrouter.service.alerts import raise_alert
from devflow_openrouter.service.errors import OpenRouterConfigError, to_service_error
from devflow_openrouter.service.guarding import GuardedRequest, guard_request
from devflow_openrouter.service.health import ping, ping_apart
from devflow_openrouter.service.model_names import read_model_name
from devflow_openrouter.service.options import ServiceOptions
from devflow_openrouter.service.retry import ServiceRetryPolicy
from devflow_openrouter.service.transports import HttpClient, make_transport

DEFAULT_BASE_URL = "https://openrouter.ai/api/v1"
"""The base URL of OpenRouter's own API."""
DEFAULT_MODEL = "openrouter/azure/gpt-4o"
"""GPT-4o of OpenAI, served by Azure only."""
_MAX_EXCERPT_CHARS = 240
"""The most logged characters of a prompt, and of a reply; both together stay below 512."""
_log = structlog.get_logger("devflow.service")


class OpenRouterService:
    """Chat completions with one key, for an application of your own; `async with` it, or close it.

    The first call opens the ledger and the budgets of the settings (environment, `devflow.toml`),
    the same that `devflow report` reads. A service belongs to the event loop of its first call.

    Args:
        api_key: an OpenRouter key; no other key of the settings is used.
        model_name: an id, `auto`, or a name with `openrouter/` or a provider before it.
        base_url: the base URL of OpenRouter's API.
        timeout: seconds to connect, and the longest silence between bytes of one attempt.
        max_retries: attempts in total, the first included.
        backoff_factor: the wait after n failures is this to the power of n, in seconds, at most 30;
            a longer Retry-After is obeyed.
        default_system_prompt: put before messages without one of the role `system` or `developer`.
        default_response_format: OpenAI's `response_format`, for calls that set none.
        http_client: an `httpx.AsyncClient`, or an object with its `post`, `stream` and `get`, which
            carries the calls; its owner closes it.

    Raises:
        OpenRouterConfigError: there is no key, or a value is not allowed.
    """

    def __init__(  # noqa: PLR0913 - the signature that its users know
        self,
        api_key: str | None,
        model_name: str = DEFAULT_MODEL,
        *,
        base_url: str = DEFAULT_BASE_URL,
        timeout: float = 30.0,
        max_retries: int = 3,
        backoff_factor: float = 2.0,
        default_system_prompt: str | None = None,
        default_response_format: dict[str, Any] | None = None,
        http_client: HttpClient | None = None,
    ) -> None:
        _check(api_key, timeout, max_retries, backoff_factor)
        self.model_name = model_name
        """The model of calls that name none; it may be changed at any time."""
        self.options = ServiceOptions()
        """Alerts, the guard, the language of errors, logging, the ledger."""
        self._settings = _load_settings(str(api_key), base_url, timeout)
        self._timeout_s = timeout
        self._retry = ServiceRetryPolicy(max_attempts=max_retries, factor=backoff_factor)
        self._system_prompt = default_system_prompt
        self._response_format = default_response_format
        self._http_client = http_client
        self._gateway: OpenRouterGateway | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening = asyncio.Lock()

    @property
    def base_url(self) -> str:
        """The base URL of the API that is asked."""
        return self._settings.base_url

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections and the ledger; a later call opens them again."""
        gateway, self._gateway, self._loop = self._gateway, None, None
        self._opening = asyncio.Lock()
        if gateway is not None:
            await gateway.__aexit__(None, None, None)

    async def chat_completion(
        self,
        messages: list[dict[str, Any]],
        *,
        model_params: Mapping[str, Any] | None = None,
        response_format: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return the reply to messages, parsed, in the shape of OpenAI's chat completions.

        Its field `devflow` holds the id of the ledger's entry, model and provider, the number of
        attempts, and the cost in USD as text.

        Args:
            messages: in OpenAI's form.
            model_params: `model`, `temperature`, `max_tokens`, or any other field of the API.
            response_format: OpenAI's; None: that of `model_params`, or the service's default.

        Raises:
            OpenRouterRejectedError: a message or field is malformed, a budget has not enough left,
                or OpenRouter refuses (4xx).
            OpenRouterSchemaError: the reply does not match the requested format.
            OpenRouterPromptRefused: the guard refuses the prompt.
            OpenRouterServiceError: any other failure; every one has `user_message`.
        """
        try:
            gateway = await self._open()
            body = self._build_body(messages, model_params, response_format, gateway)
            guarded = await guard_request(self._decode(body), body["messages"], self.options.guard)
            completion = await _complete(gateway, guarded)
        except DevFlowError as error:
            refused = to_service_error(error, self.options.language)
            await raise_alert(refused, self.options.on_alert)
            if refused is error:
                raise
            raise refused from error
        if self.options.logs_excerpts:
            _log_excerpts(messages, completion)
        return _as_openai(completion, guarded.request)

    async def generate_completion(self, prompt: str, **kwargs: Any) -> str:
        """Return the text of the reply to one prompt; empty if the reply has none.

        Args:
            prompt: what is asked.
            kwargs: `model_params` and `response_format` as in `chat_completion`; everything else is
                a field of the API (`temperature=0.2`).

        Raises:
            OpenRouterServiceError: see `chat_completion`.
        """
        response_format = kwargs.pop("response_format", None)
        given: Mapping[str, Any] = kwargs.pop("model_params", None) or {}
        parameters = {**given, **kwargs}
        reply = await self.chat_completion(
            [{"role": "user", "content": prompt}],
            model_params=parameters,
            response_format=response_format,
        )
        return reply["choices"][0]["message"]["content"] or ""

    def health_check(self) -> bool:
        """Return whether OpenRouter answers; for probes and views without an event loop.

        It asks for a part of the list of models, waits for an answer for at most five seconds (or
        `timeout`, if that is shorter), costs nothing, opens no ledger and raises nothing. Inside a
        running event loop it blocks that loop meanwhile: use `ahealth_check` there.
        """
        return ping_apart(self._settings, self._http_client, self._timeout_s)

    async def ahealth_check(self) -> bool:
        """Return whether OpenRouter answers, as `health_check` does, without blocking."""
        return await ping(self._settings, self._http_client, self._timeout_s)

    async def _open(self) -> OpenRouterGateway:
        """Return the gateway, opened by the first call.

        Raises:
            OpenRouterConfigError: the service belongs to another event loop.
            StoreError: the ledger cannot be opened.
        """
        loop = asyncio.get_running_loop()
        if self._loop not in (None, loop):
            raise OpenRouterConfigError(
                "This service belongs to the event loop of its first call. Make one service for "
                "each event loop, or use SyncOpenRouterService, which has a loop of its own."
            )
        self._loop = loop
        async with self._opening:
            if self._gateway is None:
                gateway = self._make_gateway()
                await gateway.__aenter__()
                self._gateway = gateway
        return self._gateway

    def _make_gateway(self) -> OpenRouterGateway:
        ledger = self.options.ledger
        return OpenRouterGateway(
            self._settings,
            book=None if isinstance(ledger, str) else ledger,
            ledger="memory" if ledger == "memory" else None,
            transport=make_transport(self._settings, self._http_client, self._timeout_s),
            retry=self._retry,
        )

    def _build_body(
        self,
        messages: list[dict[str, Any]],
        model_params: Mapping[str, Any] | None,
        response_format: dict[str, Any] | None,
        gateway: OpenRouterGateway,
    ) -> dict[str, Any]:
        body: dict[str, Any] = {**(model_params or {}), "messages": messages}
        named = read_model_name(
            str(body.get("model") or self.model_name), gateway.catalogue.current
        )
        body["model"] = named.model
        if named.provider is not None:
            body["provider"] = _prefer(named.provider, body.get("provider"))
        if self._system_prompt and not _has_system(messages):
            body["messages"] = [{"role": "system", "content": self._system_prompt}, *messages]
        wanted = response_format or body.get("response_format") or self._response_format
        if wanted is not None:
            body["response_format"] = wanted
        body.pop("stream", None)  # the reply is returned whole
        return body

    def _decode(self, body: JsonObject) -> ChatRequest:
        """Return the request, to be paid with this service's key and no other."""
        request = OPENAI_CHAT.decode_request(body, {})
        (key,) = self._settings.server_keys()
        return replace(request, user_key=key)


def _check(api_key: object, timeout: float, max_retries: int, backoff_factor: float) -> None:
    """Check the arguments that the settings do not check.

    Raises:
        OpenRouterConfigError: there is no key, or a value is not allowed.
    """
    if not isinstance(api_key, str) or not api_key.strip():
        raise OpenRouterConfigError(
            "OpenRouterService needs an api_key: a key of OpenRouter "
            "(https://openrouter.ai/settings/keys), for example from OPENROUTER_API_KEY."
        )
    if timeout <= 0 or max_retries < 1 or backoff_factor < 0:
        raise OpenRouterConfigError(
            "timeout must be above 0, max_retries at least 1, backoff_factor at least 0."
        )


def _load_settings(api_key: str, base_url: str, timeout: float) -> Settings:
    """Return the user's settings with the key, the address and the deadlines of the service.

    Raises:
        OpenRouterConfigError: a value is not allowed.
    """
    try:
        return Settings.load(
            api_key=api_key.strip(),
            api_keys=(),
            base_url=base_url,
            timeout_ms=max(1, round(timeout * 1000)),
            first_token_timeout_s=timeout,
            idle_timeout_s=timeout,
        )
    except ConfigurationError as error:
        raise OpenRouterConfigError(error.message) from error


async def _complete(gateway: OpenRouterGateway, guarded: GuardedRequest) -> Completion:
    return await gateway.complete(guarded.request, session=guarded.refusal)


def _has_system(messages: object) -> bool:
    """Return whether a message is the system's or developer's; True if there is no list to read.

    Malformed messages are refused when they are decoded.
    """
    if not isinstance(messages, list):
        return True
    roles = ("system", "developer")
    return any(
        isinstance(one, Mapping) and cast("Mapping[str, object]", one).get("role") in roles
        for one in cast("list[object]", messages)
    )


def _prefer(provider: str, preferences: object) -> object:
    """Return the preferences of a call and the provider that its model names; a call's own win."""
    if not isinstance(preferences, Mapping):
        return preferences or {"only": [provider]}
    return {"only": [provider], **cast("Mapping[str, object]", preferences)}


def _as_openai(completion: Completion, request: ChatRequest) -> dict[str, Any]:
    notes = {
        "entry_id": completion.entry.entry_id,
        "model": completion.model,
        "provider": completion.provider,
        "attempts": len(completion.entry.attempts),
        "cost_usd": usd_text(completion.cost_usd),
    }
    return orjson.loads(OPENAI_CHAT.encode_response(completion.response, request, notes))


def _log_excerpts(messages: list[dict[str, Any]], completion: Completion) -> None:
    prompt = messages[-1].get("content") if messages else ""
    _log.info(
        "service.excerpts",
        prompt=mask(prompt if isinstance(prompt, str) else "")[:_MAX_EXCERPT_CHARS],
        reply=mask(completion.text)[:_MAX_EXCERPT_CHARS],
        entry_id=completion.entry.entry_id,
    )
