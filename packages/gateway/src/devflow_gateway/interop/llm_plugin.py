"""Offers the gateway's models to Simon Willison's `llm`: `llm -m devflow/auto "Why?"`.

`llm` finds this module by its entry point once both are installed in one environment; nobody else
imports it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from copy import copy
from typing import Any

from devflow_core.errors import ConfigurationError
from devflow_core.settings import Settings
from devflow_routing import Capability, ModelConfig

from devflow_gateway.async_gateway import AsyncGateway
from devflow_gateway.gateway import Gateway
from devflow_gateway.interop.frameworks import UNUSED_KEY, load_framework
from devflow_gateway.interop.httpx_client import BASE_URL
from devflow_gateway.wiring import open_catalogue

llm: Any = load_framework("llm", "llm")
_openai: Any = load_framework("openai", "llm")
_chats: Any = load_framework("llm.default_plugins.openai_models", "llm")

PREFIX = "devflow/"
"""The prefix of the gateway's models in `llm`."""
AUTOMATIC = ("auto", "auto:cheap", "auto:fast", "auto:best", "auto:verified")
"""The names that leave the choice of a model to the gateway."""
_SDK = {"api_key": UNUSED_KEY, "base_url": BASE_URL, "max_retries": 0}  # the gateway retries
_EVERYTHING = Capability.TOOLS | Capability.JSON_SCHEMA | Capability.IMAGES


@llm.hookimpl
def register_models(register: Any) -> None:
    """Register the automatic names and, unless a setting is wrong, every model that writes text."""
    able = dict.fromkeys(AUTOMATIC, _EVERYTHING)
    with suppress(ConfigurationError):  # `llm` has other models; a call says what is wrong
        able |= {one.id: one.capabilities for one in _list_models()}
    for name, capabilities in able.items():
        given = {
            "model_id": f"{PREFIX}{name}",
            "model_name": name,
            "vision": Capability.IMAGES in capabilities,
            "supports_schema": Capability.JSON_SCHEMA in capabilities,
            "supports_tools": Capability.TOOLS in capabilities,
        }
        register(DevFlowModel(**given), AsyncDevFlowModel(**given))


def _list_models() -> list[ModelConfig]:
    return [one for one in open_catalogue(Settings.load()).current.models if one.writes_text]


class DevFlowModel(_chats.Chat):
    """A model that `llm` asks through a gateway, which is open while it answers."""

    needs_key = None
    key_env_var = None

    def __str__(self) -> str:
        return f"DevFlow: {self.model_id}"

    def execute(self, *args: Any, **more: Any) -> Iterator[Any]:
        """Yield the pieces of a reply."""
        with (
            Gateway.from_env() as gateway,
            _openai.OpenAI(http_client=gateway.as_httpx_client(), **_SDK) as client,
        ):
            yield from _chats.Chat.execute(_with_client(self, client), *args, **more)


class AsyncDevFlowModel(_chats.AsyncChat):
    """The counterpart of `DevFlowModel` for asynchronous programs."""

    needs_key = None
    key_env_var = None

    def __str__(self) -> str:
        return f"DevFlow: {self.model_id}"

    async def execute(self, *args: Any, **more: Any) -> AsyncIterator[Any]:
        """Yield the pieces of a reply."""
        async with AsyncGateway.from_env() as gateway:
            http = gateway.as_httpx_client()
            async with _openai.AsyncOpenAI(http_client=http, **_SDK) as client:
                pieces = _chats.AsyncChat.execute(_with_client(self, client), *args, **more)
                async for piece in pieces:
                    yield piece


def _with_client(model: Any, client: Any) -> Any:
    """Return a copy of a model that asks this client."""

    def get_client(*_args: Any, **_more: Any) -> Any:
        return client

    asking = copy(model)
    asking.get_client = get_client
    return asking
