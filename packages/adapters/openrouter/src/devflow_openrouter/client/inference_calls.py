"""Declares the calls to models with JSON in and JSON or bytes out.

They are not booked, and those that cost something are not retried. `OpenRouterGateway` does both
for chats and embeddings.
"""

from __future__ import annotations

from devflow_core.messages import JsonObject
from devflow_core.ports import UpstreamKey

from devflow_openrouter.client.json_calls import JsonCalls, path_of, with_query


class InferenceCalls(JsonCalls):
    """One method for each operation that asks a model; bodies are those of OpenRouter's API."""

    async def chat_completions(self, body: JsonObject, key: UpstreamKey) -> JsonObject:
        """Return a whole chat completion; `open` streams one."""
        return await self.post("/chat/completions", {**body, "stream": False}, key=key)

    async def messages(self, body: JsonObject, key: UpstreamKey) -> JsonObject:
        """Return a whole reply in Anthropic's dialect; `open` streams one."""
        return await self.post("/messages", {**body, "stream": False}, key=key)

    async def responses(self, body: JsonObject, key: UpstreamKey) -> JsonObject:
        """Return a whole reply in the dialect of OpenAI's responses; `open` streams one."""
        return await self.post("/responses", {**body, "stream": False}, key=key)

    async def embeddings(self, body: JsonObject, key: UpstreamKey) -> JsonObject:
        """Return vectors for texts; `body` is OpenAI's request for embeddings."""
        return await self.post("/embeddings", body, key=key)

    async def rerank(self, body: JsonObject, key: UpstreamKey) -> JsonObject:
        """Return documents in order of relevance."""
        return await self.post("/rerank", body, key=key)

    async def images(self, body: JsonObject, key: UpstreamKey) -> JsonObject:
        """Return images for a prompt."""
        return await self.post("/images", body, key=key)

    async def transcriptions(self, body: JsonObject, key: UpstreamKey) -> JsonObject:
        """Return the text of speech; the audio is sent in base64 in the body."""
        return await self.post("/audio/transcriptions", body, key=key)

    async def speech(self, body: JsonObject, key: UpstreamKey) -> bytes:
        """Return the sound of a text, in the format that the body names."""
        return await self.fetch_bytes("POST", "/audio/speech", body, key)

    async def create_video(self, body: JsonObject, key: UpstreamKey) -> JsonObject:
        """Begin to make a video; return its job, whose state `video` returns."""
        return await self.post("/videos", body, key=key)

    async def video(self, job_id: str, key: UpstreamKey) -> JsonObject:
        """Return the state of a job, and where its videos are once it is done."""
        return await self.get(path_of("/videos/{id}", id=job_id), key=key)

    async def video_content(
        self, job_id: str, key: UpstreamKey, *, index: int | None = None
    ) -> bytes:
        """Return a video of a job that is done; the first, unless `index` names another."""
        path = with_query(path_of("/videos/{id}/content", id=job_id), {"index": index})
        return await self.fetch_bytes("GET", path, None, key)
