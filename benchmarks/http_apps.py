"""One small application for three servers: replies of 1 kB, and streams of 51 events.

    python http_apps.py PORT      serves it with DevFlow's own server

uvicorn loads `asgi_app` from here and granian `rsgi_app`, in an environment without DevFlow. The
path says what comes: `/stream` is 51 events in one go, `/turns` one in each turn of the event
loop, anything else one reply of 1 kB. All read the whole body before they answer.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

EVENTS = [
    b'data: {"choices":[{"index":0,"delta":{"content":"word %03d of the reply"}}]}\n\n' % number
    for number in range(51)
]
REPLY = (b'{"text":"' + b"The quick brown fox jumps over the lazy dog. " * 23)[:1022] + b'"}'


async def asgi_app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer as an ASGI application, for uvicorn."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    path = scope["path"]
    is_stream = path in ("/stream", "/turns")
    headers = (
        [(b"content-type", b"text/event-stream")]
        if is_stream
        else [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(REPLY))]
    )
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if not is_stream:
        await send({"type": "http.response.body", "body": REPLY})
        return
    for event in EVENTS:
        await send({"type": "http.response.body", "body": event, "more_body": True})
        if path == "/turns":
            await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def rsgi_app(scope: Any, protocol: Any) -> None:
    """Answer as an RSGI application, for granian."""
    await protocol()
    if scope.path not in ("/stream", "/turns"):
        headers = [("content-type", "application/json"), ("content-length", str(len(REPLY)))]
        protocol.response_bytes(200, headers, REPLY)
        return
    transport = protocol.response_stream(200, [("content-type", "text/event-stream")])
    for event in EVENTS:
        await transport.send_bytes(event)
        if scope.path == "/turns":
            await asyncio.sleep(0)


async def serve(port: int) -> None:
    """Answer with DevFlow's server, until the process is terminated."""
    import socket

    from devflow_server.http import Exchange, Listener

    async def handle(exchange: Exchange) -> None:
        path = exchange.request.path
        if path not in ("/stream", "/turns"):
            exchange.respond(200, REPLY, [("content-type", "application/json")])
            return
        exchange.start(200, [("content-type", "text/event-stream")])
        for event in EVENTS:
            await exchange.write(event)
            if path == "/turns":
                await asyncio.sleep(0)
        exchange.finish()

    async with Listener(handle) as listener:
        await listener.listen(socket.create_server(("127.0.0.1", port)))
        await asyncio.Event().wait()


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(int(sys.argv[1])))
