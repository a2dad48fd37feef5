"""Looks a call up in OpenRouter's own books, patiently: it answers 404 for minutes after it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

from devflow_core.chat import JsonObject
from devflow_core.errors import Disposition, ModelUnavailable, UpstreamError
from devflow_core.ports import UpstreamKey

from devflow_openrouter.client.api_client import ApiClient

_FIRST_WAIT_S = 1.0
_MOST_WAIT_S = 60.0


async def find(
    api: ApiClient,
    generation_id: str,
    key: UpstreamKey,
    *,
    patience_s: float = 900.0,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> JsonObject | None:
    """What `GET /generation` tells of a call, when it does; None when patience has run out.

    It is asked at once and then after 1, 2, 4 … 60 s. Passing failures are waited out as well.

    Args:
        api: where to ask.
        generation_id: `gen-…`, from the reply or its header.
        key: the key that the call was made with.
        patience_s: how long to go on asking, counted in waits.
        sleep: how to wait.

    Raises:
        UpstreamError: the key is refused, or the question itself.
    """
    waited_s, wait_s = 0.0, _FIRST_WAIT_S
    while True:
        try:
            reply = await api.generation(generation_id, key)
        except UpstreamError as error:
            is_passing = isinstance(error, ModelUnavailable)  # its 404: not booked yet
            if not is_passing and error.disposition is not Disposition.RETRY:
                raise
            wait_s = max(wait_s, error.retry_after_s or 0.0)
        else:
            found = reply.get("data")
            return cast("JsonObject", found) if isinstance(found, dict) else None
        if waited_s + wait_s > patience_s:
            return None
        await sleep(wait_s)
        waited_s += wait_s
        wait_s = min(wait_s * 2, _MOST_WAIT_S)
