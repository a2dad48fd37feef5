"""Declares the calls about a key and what belongs to it: usage, files, presets, sign-in."""

from __future__ import annotations

from typing import Literal

from devflow_core.messages import JsonObject
from devflow_core.ports import UpstreamKey

from devflow_openrouter.client.json_calls import JsonCalls, path_of, with_query

PresetSource = Literal["chat/completions", "messages", "responses"]
"""The dialect of the request that a preset is made from."""


class AccountCalls(JsonCalls):
    """One method for each operation that a key makes on its own account: usage, files, presets.

    `offset` and `limit` choose a part of a list; None leaves them to OpenRouter.
    """

    async def key_status(self, key: UpstreamKey) -> JsonObject:
        """Return the limits and usage of a key, as the object `data`; amounts are in USD."""
        return await self.get("/key", key=key)

    async def credits(self, key: UpstreamKey) -> JsonObject:
        """Return the purchased and used credits in USD, as `data`; needs a management key."""
        return await self.get("/credits", key=key)

    async def activity(self, key: UpstreamKey, date: str | None = None) -> JsonObject:
        """Return usage by day, model and provider, as the list `data`.

        Args:
            key: a management key.
            date: one completed UTC day, `YYYY-MM-DD`; None: the last 30.
        """
        return await self.get("/activity", {"date": date}, key=key)

    async def generation(self, generation_id: str, key: UpstreamKey) -> JsonObject:
        """Return the cost and the tokens of one call, as the object `data`.

        Raises:
            ModelUnavailable: the call is unknown, as it is for some minutes after it was made
                (404).
            UpstreamError: the key is refused, or OpenRouter does not answer.
        """
        return await self.get("/generation", {"id": generation_id}, key=key)

    async def generation_content(self, generation_id: str, key: UpstreamKey) -> JsonObject:
        """Return prompt and reply of one call, if the account keeps them.

        Raises:
            ModelUnavailable: the call is unknown, or its content was not kept.
            UpstreamError: the key is refused (it may have to be a management key), or OpenRouter
                does not answer.
        """
        return await self.get("/generation/content", {"id": generation_id}, key=key)

    async def create_code(self, body: JsonObject, key: UpstreamKey) -> JsonObject:
        """Return a code that a program can exchange for a key of this account (PKCE)."""
        return await self.post("/auth/keys/code", body, key=key)

    async def exchange_code(self, body: JsonObject) -> JsonObject:
        """Return the key for a code; no key is needed. See `client/oauth.py`."""
        return await self.post("/auth/keys", body)

    # files

    async def files(self, key: UpstreamKey, **filters: str | float | None) -> JsonObject:
        """Return the files of the key's workspace (`limit`, `cursor`, `provider`…)."""
        return await self.get("/files", filters, key=key)

    async def upload_file(
        self, name: str, content: bytes, key: UpstreamKey, **options: str | None
    ) -> JsonObject:
        """Store a file, to be named in later calls; return its record.

        Args:
            name: the file's name.
            content: at most 100 MB, and not empty.
            key: the key whose workspace keeps it.
            options: `workspace_id`, `provider`.
        """
        return await self.upload(with_query("/files", options), (name, content), {}, key)

    async def file(self, file_id: str, key: UpstreamKey, **options: str | None) -> JsonObject:
        """Return the record of a file."""
        return await self.get(path_of("/files/{id}", id=file_id), options, key=key)

    async def file_content(self, file_id: str, key: UpstreamKey, **options: str | None) -> bytes:
        """Return the content of a file that OpenRouter made; uploaded files are not returned."""
        path = with_query(path_of("/files/{id}/content", id=file_id), options)
        return await self.fetch_bytes("GET", path, None, key)

    async def delete_file(
        self, file_id: str, key: UpstreamKey, **options: str | None
    ) -> JsonObject:
        """Delete a file for good."""
        path = with_query(path_of("/files/{id}", id=file_id), options)
        return await self.send("DELETE", path, None, key)

    # presets

    async def presets(
        self, key: UpstreamKey, *, offset: int | None = None, limit: int | None = None
    ) -> JsonObject:
        """Return the account's presets, the newest change first."""
        return await self.get("/presets", {"offset": offset, "limit": limit}, key=key)

    async def preset(self, slug: str, key: UpstreamKey) -> JsonObject:
        """Return a preset with the version that is in use."""
        return await self.get(path_of("/presets/{slug}", slug=slug), key=key)

    async def preset_versions(
        self,
        slug: str,
        key: UpstreamKey,
        *,
        offset: int | None = None,
        limit: int | None = None,
    ) -> JsonObject:
        """Return all versions of a preset, the oldest first."""
        path = path_of("/presets/{slug}/versions", slug=slug)
        return await self.get(path, {"offset": offset, "limit": limit}, key=key)

    async def preset_version(self, slug: str, version: str, key: UpstreamKey) -> JsonObject:
        """Return one version of a preset."""
        path = path_of("/presets/{slug}/versions/{version}", slug=slug, version=version)
        return await self.get(path, key=key)

    async def save_chat_preset(self, slug: str, body: JsonObject, key: UpstreamKey) -> JsonObject:
        """Save a request for chat completions as a preset, or as a new version of an old one.

        Args:
            slug: the preset's name.
            body: the request.
            key: the key of the account.
        """
        return await self._save_preset(slug, "chat/completions", body, key)

    async def save_messages_preset(
        self, slug: str, body: JsonObject, key: UpstreamKey
    ) -> JsonObject:
        """Save a request for messages as a preset; arguments as of `save_chat_preset`."""
        return await self._save_preset(slug, "messages", body, key)

    async def save_responses_preset(
        self, slug: str, body: JsonObject, key: UpstreamKey
    ) -> JsonObject:
        """Save a request for responses as a preset; arguments as of `save_chat_preset`."""
        return await self._save_preset(slug, "responses", body, key)

    async def _save_preset(
        self, slug: str, source: PresetSource, body: JsonObject, key: UpstreamKey
    ) -> JsonObject:
        return await self.post(path_of("/presets/{slug}/", slug=slug) + source, body, key=key)
