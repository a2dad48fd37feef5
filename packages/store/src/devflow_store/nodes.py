"""Stores the settings of named tasks, such as the model that each uses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson

from devflow_store.chain.records import RowKind
from devflow_store.chain.transaction import Transaction
from devflow_store.chain.writer import WriteJob


class Nodes:
    """The settings of named tasks, durable and shared by all processes.

    Args:
        submit: runs a job and waits until it is durable.
    """

    def __init__(self, submit: Callable[[WriteJob[Any]], Awaitable[Any]]) -> None:
        self._submit = submit

    async def get(self, task_name: str) -> dict[str, Any] | None:
        """Return the settings of one task; None if there are none.

        Raises:
            StoreError: the settings cannot be read.
        """
        return (await self.all()).get(task_name)

    async def all(self) -> dict[str, dict[str, Any]]:
        """Return all settings, by task name.

        Raises:
            StoreError: the settings cannot be read.
        """

        def run(tx: Transaction) -> dict[str, dict[str, Any]]:
            tx.flush()
            rows = tx.execute("SELECT task_name, config FROM nodes ORDER BY task_name")
            return {name: orjson.loads(config) for name, config in rows}

        return await self._submit(WriteJob(run, is_read=True))

    async def set(self, task_name: str, config: Mapping[str, Any] | None) -> None:
        """Set the settings of a task in place of its earlier ones; None removes them.

        Raises:
            StoreError: the change could not be written.
        """
        text = None if config is None else orjson.dumps(dict(config)).decode()

        def run(tx: Transaction) -> None:
            tx.flush()
            tx.execute("DELETE FROM nodes WHERE task_name = ?", (task_name,))
            if text is not None:
                tx.execute("INSERT INTO nodes (task_name, config) VALUES (?, ?)", (task_name, text))
            change = orjson.dumps({"node": task_name, "config": text})
            tx.append(RowKind.CHANGE, f"change/{tx.seq + 1}", change)

        await self._submit(WriteJob(run))
