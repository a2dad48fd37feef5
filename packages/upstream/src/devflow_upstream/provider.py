"""Defines what a provider is, and sends each call to the provider that its model belongs to.

The providers themselves are listed in `devflow_gateway.providers.table`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from devflow_core.errors import ModelUnavailable
from devflow_core.ports import Call, EventStream, Upstream

from devflow_upstream.keys import KeyPool
from devflow_upstream.limits import LimitRules
from devflow_upstream.reply_stream import Deadlines
from devflow_upstream.transport.protocol import Transport

ModelRows = Mapping[str, Mapping[str, Any]]
"""Models by id, each with the fields that `[models."ID"]` of `devflow.toml` may set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderKind:
    """A provider as the code knows it, before there is a key for it."""

    name: str
    """The first part of its models' ids, before a slash; no maker of the catalogue may share it."""
    base_url: str
    """The provider's usual address; the settings may name another one."""
    models: ModelRows
    """The models that can be asked for, by full id; one without a price fails under a budget."""
    connect: Callable[[Transport, Deadlines], Upstream]
    """Makes the upstream that asks once, with the key of the call and without any policy.

    It removes the provider's name from the id of the model, and sets `Started.provider`
    (`ReplyStream` does with `provider=`), by which the ledger and the reports name the provider.
    """
    limits: LimitRules = field(default_factory=LimitRules)
    """The scopes of its rate limits; by default, each applies only to the model that reached it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectedProvider:
    """A provider with its keys, ready to be asked; its owner closes it with `aclose`."""

    name: str
    upstream: Upstream = field(repr=False)
    keys: KeyPool = field(repr=False)
    transport: Transport = field(repr=False)

    async def aclose(self) -> None:
        """Close its connections."""
        await self.transport.aclose()


class ByProvider:
    """An `Upstream` that passes a call to the provider that the model's id names.

    A caller's own key belongs to the main provider. It is sent to no other, and a request that
    brings one is never paid with another key, so other providers cannot serve it.

    Args:
        main: serves every model that does not belong to another provider.
        others: by name; each with its own keys and policies.
    """

    def __init__(self, main: Upstream, others: Mapping[str, Upstream]) -> None:
        self._main = main
        self._others = others

    def open(self, call: Call, /) -> EventStream:
        """Open the call at the provider of its model.

        Raises:
            ModelUnavailable: the request brings its own key, and the model is another provider's.
        """
        model = call.candidate.model
        other = self._others.get(model.partition("/")[0])
        if other is None:
            return self._main.open(call)
        if call.request.user_key:
            raise ModelUnavailable(
                f"{model} is not asked with a caller's own key, which is another provider's. "
                "Send the request without it.",
                model=model,
            )
        return other.open(call)


def merge_rows(kinds: Sequence[ProviderKind], corrections: ModelRows) -> ModelRows:
    """Return the models of these providers by id; a field that the user corrects wins."""
    listed = {name: row for kind in kinds for name, row in kind.models.items()}
    corrected = {name: {**listed.get(name, {}), **row} for name, row in corrections.items()}
    return {**listed, **corrected}
