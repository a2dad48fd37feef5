"""Whose models are asked where: the seam at which a provider is added."""

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
"""Models by id, with what `[models."ID"]` of `devflow.toml` may say of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderKind:
    """A provider as the code knows it, before anybody has a key for it."""

    name: str
    """The ids of its models begin with it and a slash. No maker of the catalogue may have it."""
    base_url: str
    """Where it usually is; the settings may name another address."""
    models: ModelRows
    """What can be asked for, by its whole id. Without a price a model stops at every budget."""
    connect: Callable[[Transport, Deadlines], Upstream]
    """Makes what asks once, with the key of the call and without any policy.

    It takes the provider's name off the id of the model, and states it in `Started.provider`
    (`ReplyStream` does with `provider=`), by which the ledger and the reports tell it apart.
    """
    limits: LimitRules = field(default_factory=LimitRules)
    """What its limits of rate hold for. Unless it says otherwise: for the model that met one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectedProvider:
    """A provider with its keys, ready to be asked."""

    name: str
    upstream: Upstream = field(repr=False)
    keys: KeyPool = field(repr=False)
    transport: Transport = field(repr=False)

    async def aclose(self) -> None:
        """Close its connections."""
        await self.transport.aclose()


class ByProvider:
    """An `Upstream` that hands a call on to whoever the model's id names.

    A caller's own key is the main provider's. It goes nowhere else, and a request that brings one
    is paid with no other, so that such a request cannot be asked of another provider.

    Args:
        main: has every model that is no other's.
        others: by name; each with its own keys and policies.
    """

    def __init__(self, main: Upstream, others: Mapping[str, Upstream]) -> None:
        self._main = main
        self._others = others

    def open(self, call: Call, /) -> EventStream:
        """As `Upstream.open`.

        Raises:
            ModelUnavailable: a request with a key of its own, for another provider's model.
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
    """The models of these providers, with the user's corrections, and those of all others."""
    listed = {name: row for kind in kinds for name, row in kind.models.items()}
    corrected = {name: {**listed.get(name, {}), **row} for name, row in corrections.items()}
    return {**listed, **corrected}
