"""Declares the calls that read OpenRouter's public lists: models, providers, statistics."""

from __future__ import annotations

from urllib.parse import quote

from devflow_core.messages import JsonObject
from devflow_core.ports import UpstreamKey

from devflow_openrouter.client.json_calls import JsonCalls


class CatalogueCalls(JsonCalls):
    """One method for each operation on lists; `filters` are the parameters of OpenRouter's API.

    A call is counted for its `key`; None: it is sent without one. `offset` and `limit` choose a
    part of a list, and `window` a period; None leaves them to OpenRouter.
    """

    async def models(
        self,
        output: str = "all",
        *,
        key: UpstreamKey | None = None,
        **filters: str | float | None,
    ) -> JsonObject:
        """Return the catalogue: `data` is the list of models; no key is needed.

        Args:
            output: a kind of output (`text`, `embeddings`…), or `all`.
            key: the key that the call is counted for.
            filters: further parameters (`q`, `max_price`, `zdr`, `sort`, `limit`, `offset`…).

        Raises:
            UpstreamError: OpenRouter does not answer.
        """
        return await self.get("/models", {"output_modalities": output, **filters}, key=key)

    async def models_for_key(
        self, key: UpstreamKey, *, offset: int | None = None, limit: int | None = None
    ) -> JsonObject:
        """Return the models that a key's settings, privacy rules and guardrails permit."""
        return await self.get("/models/user", {"offset": offset, "limit": limit}, key=key)

    async def model_count(
        self, output: str | None = None, *, key: UpstreamKey | None = None
    ) -> JsonObject:
        """Return the number of models as `data.count`.

        Args:
            output: a kind of output; None: OpenRouter's default, text.
            key: the key that the call is counted for.
        """
        return await self.get("/models/count", {"output_modalities": output}, key=key)

    async def model(self, model: str, *, key: UpstreamKey | None = None) -> JsonObject:
        """Return one model by its id or alias: `data` is its row; no key is needed.

        Raises:
            ModelUnavailable: there is no such model.
            UpstreamError: OpenRouter does not answer.
        """
        return await self.get(f"/model/{quote(model)}", key=key)

    async def endpoints(self, model: str, *, key: UpstreamKey | None = None) -> JsonObject:
        """Return the providers of a model: `data.endpoints` has their prices, limits and speed.

        Raises:
            ModelUnavailable: there is no such model.
            UpstreamError: OpenRouter does not answer.
        """
        return await self.get(f"/models/{quote(model)}/endpoints", key=key)

    async def zero_retention_endpoints(self, *, key: UpstreamKey | None = None) -> JsonObject:
        """Return the endpoints of all models that keep no data, as `data`; no key is needed."""
        return await self.get("/endpoints/zdr", key=key)

    async def providers(self, *, key: UpstreamKey | None = None) -> JsonObject:
        """Return all providers with their policies, as the list `data`."""
        return await self.get("/providers", key=key)

    async def embedding_models(
        self,
        *,
        key: UpstreamKey | None = None,
        offset: int | None = None,
        limit: int | None = None,
    ) -> JsonObject:
        """Return the models that make embeddings, as the list `data`."""
        return await self.get("/embeddings/models", {"offset": offset, "limit": limit}, key=key)

    async def image_models(self, *, key: UpstreamKey | None = None) -> JsonObject:
        """Return the models that make images, as the list `data`."""
        return await self.get("/images/models", key=key)

    async def image_model_endpoints(
        self, model: str, *, key: UpstreamKey | None = None
    ) -> JsonObject:
        """Return the providers of a model that makes images, with their prices and parameters."""
        return await self.get(f"/images/models/{quote(model)}/endpoints", key=key)

    async def video_models(self, *, key: UpstreamKey | None = None) -> JsonObject:
        """Return the models that make videos, as the list `data`."""
        return await self.get("/videos/models", key=key)

    async def benchmarks(
        self, *, key: UpstreamKey | None = None, **filters: str | float | None
    ) -> JsonObject:
        """Return scores of models in public benchmarks (`source`, `task_type`, `category`…)."""
        return await self.get("/benchmarks", filters, key=key)

    async def task_shares(
        self, *, key: UpstreamKey | None = None, window: str | None = None
    ) -> JsonObject:
        """Return how OpenRouter's traffic is divided among kinds of tasks."""
        return await self.get("/classifications/task", {"window": window}, key=key)

    async def app_rankings(
        self, *, key: UpstreamKey | None = None, **filters: str | float | None
    ) -> JsonObject:
        """Return the public applications by use (`category`, `start_date`, `end_date`…)."""
        return await self.get("/datasets/app-rankings", filters, key=key)

    async def daily_rankings(
        self, *, key: UpstreamKey | None = None, **filters: str | float | None
    ) -> JsonObject:
        """Return the most used models of each day (`start_date`, `end_date`, `category`…)."""
        return await self.get("/datasets/rankings-daily", filters, key=key)

    async def session_costs(
        self, *, key: UpstreamKey | None = None, **filters: str | float | None
    ) -> JsonObject:
        """Return what sessions of known applications cost (`app_slug`, `model`, `turn_range`…)."""
        return await self.get("/datasets/session-cost", filters, key=key)
