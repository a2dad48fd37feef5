"""Wraps the gateway as a service object with a few methods, for programs written against one."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import httpx
from devflow_core.errors import ConfigurationError, DevFlowError
from devflow_core.pipeline import Completion
from devflow_core.ports import UpstreamKey
from devflow_core.settings import Settings
from devflow_core.wire.openai_chat import OPENAI_CHAT
from devflow_upstream.keys import key_id
from devflow_upstream.transport.httpx_transport import HttpxTransport

from devflow_openrouter.gateway import OpenRouterGateway

DEFAULT_BASE_URL = "https://openrouter.ai/api/v1"
"""The base URL of OpenRouter's own API."""


class OpenRouterService:
    """Chat completions with one model and one key; close it, or `async with` it.

    Args:
        api_key: an OpenRouter key.
        model_name: the model, or `auto`.
        base_url: the base URL of OpenRouter's API.
        timeout: seconds for one request in total, retries included.
        max_retries: attempts in total, the first included.
        backoff_factor: scales the gateway's waits between attempts; 1 leaves them unchanged.
        default_system_prompt: put before messages that have no system message.
        default_response_format: OpenAI's `response_format`, for calls that set none.
        http_client: carries the calls instead of our own transport; its owner closes it.

    Raises:
        ConfigurationError: there is no key, or a value is not allowed.
    """

    def __init__(  # noqa: PLR0913 - the signature that its users know
        self,
        api_key: str | None,
        model_name: str = "auto",
        *,
        base_url: str = DEFAULT_BASE_URL,
        timeout: float = 60.0,
        max_retries: int = 3,
        backoff_factor: float = 1.0,
        default_system_prompt: str | None = None,
        default_response_format: dict[str, Any] | None = None,
        http_client: httpx.AsyncClient | None = None,
    ) -> None:
        if not api_key:
            raise ConfigurationError("OpenRouterService needs an api_key: a key of OpenRouter.")
        if timeout <= 0 or max_retries < 1 or backoff_factor < 0:
            raise ConfigurationError(
                "timeout must be above 0, max_retries at least 1, backoff_factor at least 0."
            )
        settings = Settings.load(
            {},
            api_key=api_key,
            base_url=base_url,
            max_retries=max_retries,
            total_timeout_s=timeout,
            retry_wait_factor=backoff_factor,
        )
        self.model_name = model_name
        self._key = UpstreamKey(secret=api_key, id=key_id(api_key), source="user")
        self._system_prompt = default_system_prompt
        self._response_format = default_response_format
        transport = HttpxTransport(base_url, http_client) if http_client else None
        self._gateway = OpenRouterGateway(settings, ledger="memory", transport=transport)
        self._is_open = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._gateway.__aexit__(None, None, None)

    async def chat_completion(
        self, messages: list[dict[str, Any]], **parameters: Any
    ) -> Completion:
        """Return the reply to messages in OpenAI's form; `parameters` are further body fields.

        Raises:
            InvalidRequest: a message or a field is malformed; nothing was sent.
            StructuredOutputInvalid: the reply does not match the requested format.
            DevFlowError: the model did not answer, or the reply broke off.
        """
        body: dict[str, Any] = {"model": self.model_name, "messages": messages, **parameters}
        if self._system_prompt and not any(one.get("role") == "system" for one in messages):
            body["messages"] = [{"role": "system", "content": self._system_prompt}, *messages]
        if self._response_format is not None:
            body.setdefault("response_format", self._response_format)
        request = OPENAI_CHAT.decode_request(body, {})
        if not self._is_open:  # its users need no `async with`
            self._is_open = True
            await self._gateway.__aenter__()
        return await self._gateway.complete(request)

    async def generate_completion(self, prompt: str, **parameters: Any) -> str:
        """Return the text of the reply to one prompt; `parameters` are further body fields.

        Raises:
            InvalidRequest: a field is malformed; nothing was sent.
            StructuredOutputInvalid: the reply does not match the requested format.
            DevFlowError: the model did not answer, or the reply broke off.
        """
        completion = await self.chat_completion([{"role": "user", "content": prompt}], **parameters)
        return completion.text

    async def health_check(self) -> bool:
        """Return whether OpenRouter answers and accepts the key; costs nothing, raises nothing."""
        try:
            await self._gateway.api.key_status(self._key)
        except DevFlowError:
            return False
        return True
