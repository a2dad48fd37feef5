"""Keeps the named tasks and their models in memory, stored for all workers."""

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
"""The nodes that exist without any setting, with their descriptions."""
_WEIGHTS = ("cost_priority", "performance_priority", "quality_floor")


class NodeStore(Protocol):
    """The port through which nodes are stored."""

    async def all(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the settings of every node that was changed at run time, by name.

        Raises:
            StoreError: the settings cannot be read.
        """
        ...

    async def set(self, task_name: str, config: Mapping[str, Any], /) -> None:
        """Store the settings of one node in place of its earlier ones.

        Raises:
            StoreError: the change could not be stored.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A named task with its model and weights."""

    task_name: str
    description: str = ""
    model: str | None = None
    """A model id or `auto…`; None keeps the model that the client asks for."""
    cost_priority: float | None = None
    """The weight from 0 to 1; None keeps the request's own."""
    performance_priority: float | None = None
    """The weight from 0 to 1; None keeps the request's own."""
    quality_floor: float | None = None
    """The least quality, from 0 to 1, as a share of the session's model's; None: the request's."""

    def as_json(self) -> dict[str, object]:
        """Return the node's fields as a JSON object; unset ones are null."""
        return {
            "task_name": self.task_name,
            "description": self.description,
            "model": self.model,
            "cost_priority": self.cost_priority,
            "performance_priority": self.performance_priority,
            "quality_floor": self.quality_floor,
        }


class NodeTable:
    """All nodes: built in, from the settings, and changed at run time.

    Args:
        store: holds the changes, which take precedence over the settings.
        configured: the nodes in the settings, by name.
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
        """Every node, sorted by name."""
        return tuple(self._nodes[name] for name in sorted(self._nodes))

    async def refresh(self) -> None:
        """Rebuild the nodes from the settings and from what this or another worker has stored.

        Raises:
            StoreError: the store cannot be read; the nodes stay as they were.
            InvalidRequest: a stored node was written by another version; the nodes stay as they
                were.
        """
        nodes = dict(self._defaults)
        for name, config in (await self._store.all()).items():
            nodes[name] = apply_changes(nodes.get(name, Node(task_name=name)), config)
        self._nodes = nodes

    async def patch(self, name: str, config: Mapping[str, Any]) -> Node:
        """Change a node for all workers, durably, and return it.

        Args:
            name: the node.
            config: the fields to change.

        Raises:
            NotFound: there is no such node; new nodes are added in the settings.
            InvalidRequest: an unknown field, or a wrong value.
            StoreError: the change could not be stored; nothing has changed.
        """
        # another worker may have changed the node, which this change must not undo
        await self.refresh()
        node = self._nodes.get(name)
        if node is None:
            raise NotFound(f"There is no node {name!r}; there are {', '.join(self._nodes)}.")
        node = apply_changes(node, config)
        saved = {"model": node.model, **{one: getattr(node, one) for one in _WEIGHTS}}
        # stored first: a change that cannot be kept must not apply in this worker alone
        await self._store.set(name, saved)
        self._nodes[name] = node
        return node

    def apply(self, name: str, request: ChatRequest) -> ChatRequest:
        """Return the request with its node's model and weights; unchanged for an unknown node."""
        node = self._nodes.get(name)
        if node is None:
            return request
        if node.model is not None:
            request = replace(request, model=node.model)
        weights = {one: getattr(node, one) for one in _WEIGHTS}
        if all(one is None for one in weights.values()):
            return request
        return replace(request, criteria=SelectionCriteria(**weights).over(request.criteria))


def apply_changes(node: Node, config: Mapping[str, Any]) -> Node:
    """Return a node with some fields changed.

    Raises:
        InvalidRequest: an unknown field, or a wrong value.
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
