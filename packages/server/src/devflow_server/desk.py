"""Where answers come from: the pipeline, by way of what is already known or under way."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from devflow_core.chat import ChatRequest
from devflow_core.pipeline import Pipeline

from devflow_server.answers import Answer, LiveAnswer
from devflow_server.routes import Visit


class PipelineDesk:
    """Asks the pipeline, nothing else."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def open(self, visit: Visit, request: ChatRequest, /) -> AbstractAsyncContextManager[Answer]:
        """As `Desk.open`."""
        return self._open(visit, request)

    @asynccontextmanager
    async def _open(self, visit: Visit, request: ChatRequest) -> AsyncGenerator[Answer]:
        async with self._pipeline.stream(request, entry_id=visit.request_id) as reply:
            yield LiveAnswer(reply)
