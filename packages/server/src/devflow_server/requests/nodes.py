"""Named tasks and the model each uses: kept in memory, persisted, shared by all workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from devflow_core.errors import InvalidRequest, NotFound
from devflow_core.request import ChatRequest
from devflow_core.routing import SelectionCriteria

BUILT_IN_NODES = {
    "main": "Claude Code's main conversation",
    "small": "Claude Code's side calls: titles, topics, summaries",
    "subagent": "Claude Code's sub-agents",
}
_WEIGHTS = ("cost_priority", "performance_priority")


class NodeStore(Protocol):
    """Where nodes are persisted."""

    async def all(self) -> Mapping[str, Mapping[str, Any]]:
        """Every node that was set."""
        ...

    async def set(self, task_name: str, config: Mapping[str, Any], /) -> None:
        """Set one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A named task."""

    task_name: str
    description: str = ""
    model: str | None = None
    """A model id or `auto…`; None leaves what the client asks for."""
    cost_priority: float | None = None
    performance_priority: float | None = None

    def as_json(self) -> dict[str, object]:
        """For `/system/nodes`."""
        return {
            "task_name": self.task_name,
            "description": self.description,
            "model": self.model,
            "cost_priority": self.cost_priority,
            "performance_priority": self.performance_priority,
        }


class NodeTable:
    """All nodes: the built-in ones, those of the settings, and what was changed at run time.

    Args:
        store: where changes are persisted; they win over the settings.
        configured: the settings' nodes.
    """

    def __init__(self, store: NodeStore, configured: Mapping[str, Mapping[str, Any]]) -> None:
        self._store = store
        defaults = {
            name: Node(task_name=name, description=text) for name, text in BUILT_IN_NODES.items()
        }
        for name, config in configured.items():
            defaults[name] = apply_changes(defaults.get(name, Node(task_name=name)), config)
        self._defaults = defaults
        self._nodes = dict(defaults)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Every node, by name."""
        return tuple(self._nodes[name] for name in sorted(self._nodes))

    async def refresh(self) -> None:
        """Take in what this or another worker has persisted.

        Raises:
            StoreError: it cannot be read; what is known stays.
        """
        nodes = dict(self._defaults)
        for name, config in (await self._store.all()).items():
            nodes[name] = apply_changes(nodes.get(name, Node(task_name=name)), config)
        self._nodes = nodes

    async def patch(self, name: str, config: Mapping[str, Any]) -> Node:
        """Change a node for all workers and for the next start.

        Raises:
            NotFound: there is no such node; one is made in the settings.
            InvalidRequest: a field that a node has not, or a wrong value.
            StoreError: it could not be persisted; nothing has changed.
        """
        await self.refresh()
        node = self._nodes.get(name)
        if node is None:
            raise NotFound(f"There is no node {name!r}; there are {', '.join(self._nodes)}.")
        node = apply_changes(node, config)
        saved = {"model": node.model, **{one: getattr(node, one) for one in _WEIGHTS}}
        await self._store.set(name, saved)
        self._nodes[name] = node
        return node

    def apply(self, name: str, request: ChatRequest) -> ChatRequest:
        """The request with the model and the weights of its node."""
        node = self._nodes.get(name)
        if node is None:
            return request
        if node.model is not None:
            request = replace(request, model=node.model)
        if node.cost_priority is None and node.performance_priority is None:
            return request
        criteria = request.criteria or SelectionCriteria()
        weights = {one: getattr(node, one) for one in _WEIGHTS if getattr(node, one) is not None}
        return replace(request, criteria=replace(criteria, **weights))


def apply_changes(node: Node, config: Mapping[str, Any]) -> Node:
    """A node with some fields changed.

    Raises:
        InvalidRequest: a field that a node has not, or a wrong value.
    """
    for field, value in config.items():
        if field == "model":
            if value is not None and (not isinstance(value, str) or not value):
                raise InvalidRequest("model: send a model id, or null for the client's own.")
        elif field in _WEIGHTS:
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if value is not None and not (is_number and 0 <= value <= 1):
                raise InvalidRequest(f"{field}: send a number from 0 to 1, or null.")
        elif field != "description" or not isinstance(value, str):
            raise InvalidRequest(f"{field}: a node has no such field.")
    return replace(node, **config)
