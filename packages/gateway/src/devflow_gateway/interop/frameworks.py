"""Loads other people's libraries late, and gives them clients that a gateway answers."""

from __future__ import annotations

from collections.abc import Coroutine
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from devflow_core.errors import ConfigurationError

from devflow_gateway.async_gateway import AsyncGateway
from devflow_gateway.interop.httpx_client import make_client

if TYPE_CHECKING:
    from devflow_gateway.gateway import Gateway

UNUSED_KEY = "answered-in-this-process"
"""The key that SDKs are given, since they cannot be made without one; it never leaves here."""


class Clients(NamedTuple):
    """A client of each kind, of the library that SDKs use here."""

    blocking: Any
    asynchronous: Any


def load_framework(module: str, package: str) -> Any:
    """Return a module of a library that programs bring along.

    Args:
        module: its name in an import.
        package: its name for an installer.

    Raises:
        ConfigurationError: it is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # it is there, and lacks something itself
        raise ConfigurationError(
            f"This adapter is for {package}, which is not installed: `uv add {package}`."
        ) from error


def make_clients(gateway: AsyncGateway | Gateway) -> Clients:
    """Return clients that a gateway answers; the caller closes them before the gateway.

    An `AsyncGateway`'s blocking one refuses every request: it would wait for the event loop that it
    holds up. A `Gateway` has to be entered first.

    Raises:
        ConfigurationError: a `Gateway` has not been entered, or the package
            `devflow-gateway-server` is not installed.
    """
    if isinstance(gateway, AsyncGateway):
        return Clients(make_client(gateway, _NoPortal()), gateway.as_httpx_client())
    return Clients(gateway.as_httpx_client(), gateway.as_async_httpx_client())


class _NoPortal:
    """Says what to do where a blocking call meets an asynchronous gateway."""

    def run(self, work: Coroutine[Any, Any, Any], /) -> Any:
        work.close()
        raise ConfigurationError(
            "An AsyncGateway answers in its own event loop, which a blocking call would hold up."
            " Await the asynchronous method (`ainvoke`, `acompletion`, …), or bring a Gateway."
        )

    submit = run
