"""Makes LangChain's models and embeddings that ask through a gateway.

chat = make_chat_model(gateway, "auto")
reply = await chat.ainvoke("Why does it fail?")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from devflow_gateway.interop.frameworks import UNUSED_KEY, load_framework, make_clients
from devflow_gateway.interop.httpx_client import BASE_URL

if TYPE_CHECKING:
    from devflow_gateway.async_gateway import AsyncGateway
    from devflow_gateway.gateway import Gateway

_PACKAGE = "langchain-openai"


def make_chat_model(gateway: AsyncGateway | Gateway, model: str = "auto", **options: Any) -> Any:
    """Return a `ChatOpenAI` whose requests the gateway routes, pays for and books.

    `response_metadata["headers"]` holds the headers of a reply, its model and cost among them.

    Args:
        gateway: an `AsyncGateway`, entered before the first request, answers the asynchronous
            methods (`ainvoke`); a `Gateway`, entered before this call, answers both kinds.
        model: any name that a request may have: an id, an alias, `auto`, `auto:cheap`.
        options: as of `ChatOpenAI`: `temperature`, `max_tokens`, `default_headers`, ….

    Raises:
        ConfigurationError: `langchain-openai` or `devflow-gateway-server` is not installed, or a
            `Gateway` has not been entered.
    """
    given = {"stream_usage": True, "include_response_headers": True, **options}
    return load_framework("langchain_openai", _PACKAGE).ChatOpenAI(
        model=model, **_connection(gateway), **given
    )


def make_embeddings(gateway: AsyncGateway | Gateway, model: str, **options: Any) -> Any:
    """Return `OpenAIEmbeddings` that ask through the gateway.

    Arguments and errors as of `make_chat_model`.
    """
    # without the check texts are sent as they are, and not as tokens of OpenAI's models
    given = {"check_embedding_ctx_length": False, **options}
    return load_framework("langchain_openai", _PACKAGE).OpenAIEmbeddings(
        model=model, **_connection(gateway), **given
    )


def _connection(gateway: AsyncGateway | Gateway) -> dict[str, Any]:
    clients = make_clients(gateway)
    return {
        "http_client": clients.blocking,
        "http_async_client": clients.asynchronous,
        "api_key": UNUSED_KEY,
        "base_url": BASE_URL,
        "max_retries": 0,  # the gateway retries, and knows which failures are worth it
    }
