"""Stands in for OpenRouter on loopback, with its protocol and prices, and with faults on request.

The names are imported lazily: pytest imports this package in every run, through the plugin's
entry point, and most runs do not need it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from devflow_sandbox.faults.plan import FaultCase, find_case, load_plan
    from devflow_sandbox.sandbox import Sandbox
    from devflow_sandbox.sandbox_state import Setup
    from devflow_sandbox.serving import serve

__all__ = ["FaultCase", "Sandbox", "Setup", "find_case", "load_plan", "serve"]

_HOMES = {
    "FaultCase": "faults.plan",
    "Sandbox": "sandbox",
    "Setup": "sandbox_state",
    "find_case": "faults.plan",
    "load_plan": "faults.plan",
    "serve": "serving",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
