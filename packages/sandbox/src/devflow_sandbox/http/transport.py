"""Offers the sandbox as a transport of httpx: in process, streaming, without a port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx

from devflow_sandbox.message import Answer, DropConnection, Pause, SandboxRequest


class SandboxTransport(httpx.AsyncBaseTransport):
    """A transport for `httpx.AsyncClient(transport=…)`; every host name reaches the sandbox.

    A stream that is closed early is booked as cancelled, as over a socket. Faults below HTTP are
    raised as the errors that httpx makes of them.
    """

    def __init__(self, handler: Callable[[SandboxRequest], Answer]) -> None:
        self._handler = handler

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request; the body is streamed as it is read.

        Raises:
            httpx.TransportError: a fault below HTTP.
        """
        body = await request.aread()
        answer = self._handler(
            SandboxRequest(
                method=request.method,
                path=request.url.path,
                query=request.url.query.decode("ascii"),
                headers={name.lower(): value for name, value in request.headers.items()},
                body=body,
            )
        )
        await asyncio.sleep(answer.head_delay_s)
        if answer.framing == "raw":
            if answer.settle is not None:
                answer.settle(1.0)
            raise _to_transport_error(answer)
        if answer.dribble_s is not None:
            # a head has about 200 bytes, which httpx would wait for
            await asyncio.sleep(answer.dribble_s * 200)
        return httpx.Response(
            answer.status, headers=answer.headers, stream=_AnswerStream(answer), request=request
        )


def _to_transport_error(answer: Answer) -> httpx.TransportError:
    """Return the error that httpx raises for an answer that is not HTTP."""
    if answer.refuse_s:
        return httpx.ConnectError("the sandbox was told to refuse connections")
    if isinstance(next(iter(answer.steps), None), DropConnection):
        return httpx.ReadError("the sandbox was told to drop the connection")
    return httpx.RemoteProtocolError("the sandbox was told to send no HTTP")


class _AnswerStream(httpx.AsyncByteStream):
    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._sent = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        steps = iter(self._answer.steps)
        step = next(steps, None)
        while step is not None:
            next_step = next(steps, None)
            if next_step is None or isinstance(step, DropConnection):
                self._settle(1.0)
            if isinstance(step, DropConnection):
                raise httpx.ReadError("the sandbox was told to drop the connection")
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
            elif step:
                self._sent += 1
                yield step
            step = next_step
        self._settle(1.0)

    async def aclose(self) -> None:
        """Settle the answer: the client has read enough."""
        self._settle(min(self._sent / max(1, self._answer.step_count), 0.999))

    def _settle(self, share: float) -> None:
        settle, self._answer.settle = self._answer.settle, None
        if settle is not None:
            settle(share)
