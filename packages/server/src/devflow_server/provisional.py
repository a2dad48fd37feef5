"""Client keys and nodes while the store has none: no key is known, nodes live in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class NoKeys:
    """Knows no client key."""

    async def verify(self, _secret: str, /) -> None:
        """Nobody's key."""


class MemoryNodes:
    """Nodes of this process."""

    def __init__(self) -> None:
        self._kept: dict[str, Mapping[str, Any]] = {}

    async def all(self) -> Mapping[str, Mapping[str, Any]]:
        """Every node that was set."""
        return dict(self._kept)

    async def set(self, task_name: str, config: Mapping[str, Any], /) -> None:
        """Set one."""
        self._kept[task_name] = config
