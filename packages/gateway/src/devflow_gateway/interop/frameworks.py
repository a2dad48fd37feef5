"""Loads other people's libraries late, and gives them clients that a gateway answers."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from devflow_core.errors import ConfigurationError

from devflow_gateway.interop.httpx_client import make_async_client, make_client

if TYPE_CHECKING:
    from devflow_gateway.async_gateway import AsyncGateway
    from devflow_gateway.interop.local_server import Portal

UNUSED_KEY = "answered-in-this-process"
"""What SDKs are given as a key, which they cannot be made without; it is never sent."""


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


def make_clients(gateway: AsyncGateway, portal: Portal | None = None) -> Clients:
    """Return clients that a gateway answers; who closes them does it before the gateway.

    Without a portal the blocking one refuses every request: it would wait for the event loop that
    it holds up.
    """
    asynchronous = make_async_client(gateway, portal=portal)
    blocking = make_client(gateway, portal or _NoPortal())
    return Clients(blocking, asynchronous)


class _NoPortal:
    """Says what to do where a blocking call meets an asynchronous gateway."""

    def call(self, function: Any, /, *args: Any) -> Any:
        if function.__name__ == "aclose":
            return None
        raise ConfigurationError(
            "An AsyncGateway answers in its own event loop, which a blocking call would hold up."
            " Await the asynchronous method (`ainvoke`, `acompletion`, …), or bring a Gateway."
        )

    def start_task_soon(self, function: Any, /, *args: Any) -> Any:
        return self.call(function, *args)
