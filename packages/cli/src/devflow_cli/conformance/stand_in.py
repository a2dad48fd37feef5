"""Controls the stand-in that is a gateway's upstream: slows it, has it fail, and reads its bill.

What a gateway does upstream cannot be seen from its answers. To see it, the gateway is pointed at
`devflow sandbox`, and the doctor at both.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx

from devflow_cli.conformance.recording import JsonObject
from devflow_cli.conformance.terms import ClauseNotShown

GAP_S = 0.01
"""Seconds between the events of a reply that is slowed."""
MAX_SETTLING_S = 30.0
"""Seconds that a call may take to appear on the bill: it takes as long as its reply."""
_POLL_S = 0.02
"""Seconds between two looks at the bill."""


class StandIn:
    """A running stand-in; the caller closes the client.

    Args:
        client: has the stand-in's root as its base URL.
    """

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    @asynccontextmanager
    async def playing(self, fault: JsonObject, path: str) -> AsyncGenerator[None]:
        """Apply a fault to streamed replies of a path until the block ends.

        Afterwards, the previous faults apply again. The path is below the API's root, and may hold
        `*`.

        Raises:
            ClauseNotShown: the stand-in cannot be controlled.
        """
        before = await self._read("/sandbox/faults")
        rule = {"when": {"stream": True, "path": path}, "then": fault}
        await self._put({"faults": [rule]})
        try:
            yield
        finally:
            await self._put(before)

    async def count_calls(self) -> int:
        """Return how many calls are on the bill.

        Raises:
            ClauseNotShown: the stand-in does not answer.
        """
        return len((await self._read("/sandbox/bill"))["calls"])

    async def wait_for_outcome(self, since: int) -> str:
        """Return how the last call after the first `since` ended, once none is running.

        Raises:
            ClauseNotShown: no call came, one did not end in time, or the stand-in does not answer.
        """
        deadline_s = time.monotonic() + MAX_SETTLING_S
        while time.monotonic() < deadline_s:
            bill = await self._read(f"/sandbox/bill?since={since}")
            calls = cast("list[JsonObject]", bill["calls"])
            if calls and not any(one["outcome"] == "running" for one in calls):
                return str(calls[-1]["outcome"])
            await asyncio.sleep(_POLL_S)
        raise ClauseNotShown("no call ended at the stand-in: is it this gateway's upstream?")

    async def _read(self, path: str) -> JsonObject:
        try:
            reply = await self._client.get(path)
            reply.raise_for_status()
            read: Any = reply.json()
        except (httpx.HTTPError, ValueError) as error:
            raise ClauseNotShown(f"the stand-in does not answer: {error}") from None
        return cast(JsonObject, read)

    async def _put(self, script: JsonObject) -> None:
        try:
            (await self._client.put("/sandbox/faults", json=script)).raise_for_status()
        except httpx.HTTPError as error:
            raise ClauseNotShown(f"the stand-in takes no faults: {error}") from None
