"""Sends embeddings that are asked for one by one as one call, with each caller's own part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from devflow_upstream.embeddings import Embeddings

from devflow_gateway.calls.gathering import Gatherer
from devflow_gateway.calls.main_provider import BaseGateway


@dataclass(frozen=True, slots=True, kw_only=True)
class GatheredEmbeddings(Embeddings):
    """One text's vector, from a call that was made for several texts."""

    share_usd: Decimal

    @property
    def cost_usd(self) -> Decimal:
        """This text's part of the call's cost in USD; all parts add up to the entry's cost."""
        return self.share_usd


@dataclass(frozen=True, slots=True)
class EmbeddingsGroup:
    """All that the texts of one call have in common."""

    gateway: BaseGateway
    """The gateway whose keys, budgets and ledger the call uses."""
    model: str
    dimensions: int | None
    project: str | Path | None
    tags: tuple[tuple[str, str], ...]


class EmbeddingsGatherer:
    """Gathers texts that concurrent tasks embed one by one into calls for several."""

    def __init__(self) -> None:
        self._gatherer = Gatherer[EmbeddingsGroup, Embeddings](_send, lambda sent: sent.cost_usd)

    async def embed(
        self,
        gateway: BaseGateway,
        text: str,
        *,
        model: str,
        dimensions: int | None = None,
        project: str | Path | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Embeddings:
        """Return the vector of one text; arguments and errors as of `AsyncGateway.embed`."""
        labels = tuple(sorted((tags or {}).items()))
        group = EmbeddingsGroup(gateway, model, dimensions, project, labels)
        share = await self._gatherer.ask(group, text)
        return GatheredEmbeddings(
            vectors=(share.result.vectors[share.place],),
            entry=share.result.entry,
            share_usd=share.cost_usd,
        )


async def _send(group: EmbeddingsGroup, texts: Sequence[str]) -> Embeddings:
    return await BaseGateway.embed(
        group.gateway,
        texts,
        model=group.model,
        dimensions=group.dimensions,
        project=group.project,
        tags=dict(group.tags),
    )
