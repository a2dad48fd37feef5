"""Makes models for pydantic-ai that ask through a gateway.

agent = Agent(make_model(gateway, "auto"))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from devflow_gateway.interop.frameworks import UNUSED_KEY, load_framework, make_clients
from devflow_gateway.interop.httpx_client import BASE_URL

if TYPE_CHECKING:
    from devflow_gateway.async_gateway import AsyncGateway
    from devflow_gateway.gateway import Gateway


def make_model(gateway: AsyncGateway | Gateway, model: str = "auto", **options: Any) -> Any:
    """Return an `OpenAIChatModel` whose requests the gateway routes, pays for and books.

    Args:
        gateway: an `AsyncGateway`, entered before the first request, or a `Gateway`, entered before
            this call, which also answers `run_sync`.
        model: any name that a request may have: an id, an alias, `auto`, `auto:cheap`.
        options: as of `OpenAIChatModel`: `settings`, `profile`.

    Raises:
        ConfigurationError: `pydantic-ai-slim[openai]` or `devflow-gateway-server` is not installed,
            or a `Gateway` has not been entered.
    """
    package = "pydantic-ai-slim[openai]"
    models = load_framework("pydantic_ai.models.openai", package)
    providers = load_framework("pydantic_ai.providers.openai", package)
    client = load_framework("openai", package).AsyncOpenAI(
        http_client=make_clients(gateway).asynchronous,
        api_key=UNUSED_KEY,
        base_url=BASE_URL,
        max_retries=0,  # the gateway retries, and knows which failures are worth it
    )
    return models.OpenAIChatModel(
        model, provider=providers.OpenAIProvider(openai_client=client), **options
    )
