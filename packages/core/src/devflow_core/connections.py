"""Closes listening servers without leaving connections that nobody owns."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

_TURNS_UNTIL_MADE = 3
"""The turns of the loop until a connection is made.

asyncio makes the protocol in the turn after accepting, and calls `connection_made` in the next
one; a third turn is for a callback that was already queued.
"""


async def stop_accepting(servers: Iterable[asyncio.Server]) -> None:
    """Close servers once every accepted connection has been handed to its protocol.

    A server that is closed between the two turns of the loop drops the connection but leaves its
    socket open: asyncio can no longer attach a transport to a closed server.
    """
    loop = asyncio.get_running_loop()
    closing = list(servers)
    for server in closing:
        for listening in server.sockets:
            loop.remove_reader(listening)
    for _ in range(_TURNS_UNTIL_MADE):
        await asyncio.sleep(0)
    for server in closing:
        server.close()
