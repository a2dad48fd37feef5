"""Names the keyword arguments that every call takes, and asks one request with them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypedDict

from devflow_core.call_arguments import UsdAmount
from devflow_core.pipeline import Completion
from devflow_core.ports import ContextInjector
from devflow_core.request import ChatRequest
from devflow_core.response import Collector
from devflow_core.routing import SelectionCriteria
from devflow_core.verification import Verification

from devflow_gateway.calls.batch_replies import EntryIds
from devflow_gateway.calls.main_provider import BaseGateway, complete_structured
from devflow_gateway.calls.parsing import complete_parsed


class LabelArguments(TypedDict, total=False):
    """The keyword arguments that all requests of a batch, or of a run of tools, share."""

    criteria: SelectionCriteria | None
    """Preferences for the choice of a model; what is None in them keeps the request's own."""
    project: str | Path | None
    """The project to book on: an existing folder, or a name."""
    tags: Mapping[str, str] | None
    """Short labels that are booked with each request."""


class CompleteArguments(LabelArguments, total=False):
    """The keyword arguments of `complete`; see there."""

    session: ContextInjector | None
    max_cost_usd: UsdAmount | None
    idempotency_key: str | None
    repairs: int
    verification: Verification | None


class NumberedAsker:
    """Asks a request and its repairs, each under a key of its own if the call has a key.

    Args:
        complete: `complete` of a gateway.
        arguments: those of the call; `repairs` has no effect, since the caller makes the repairs.
    """

    def __init__(
        self, complete: Callable[..., Awaitable[Completion]], arguments: CompleteArguments
    ) -> None:
        self._complete = complete
        self._arguments: CompleteArguments = {**arguments, "repairs": 0}
        self._key = arguments.get("idempotency_key")
        self._number = 0

    async def __call__(self, request: ChatRequest) -> Completion:
        arguments = self._arguments
        if self._key and self._number:
            arguments = {**arguments, "idempotency_key": f"{self._key}#{self._number}"}
        self._number += 1
        return await self._complete(request, **arguments)


class RequestAsker:
    """Asks single requests through a gateway, all with the same arguments.

    Args:
        gateway: asks the models; it is not closed here.
        arguments: those of each request; `max_cost_usd` and `idempotency_key` belong to the batch
            as a whole, and have no effect here.
        response_model: the type of the replies; None: they stay as they are.
    """

    def __init__(
        self,
        gateway: BaseGateway,
        arguments: CompleteArguments,
        response_model: type[Any] | None,
    ) -> None:
        self._gateway = gateway
        self._labels: LabelArguments = {
            "criteria": arguments.get("criteria"),
            "project": arguments.get("project"),
            "tags": arguments.get("tags"),
        }
        self._session = arguments.get("session")
        self._repairs = arguments.get("repairs", 0)
        self._verification = arguments.get("verification")
        self._response_model = response_model

    async def ask(self, request: ChatRequest, ids: EntryIds | None = None) -> Completion:
        """Return the whole reply, checked and parsed.

        Args:
            request: what is asked.
            ids: hands out the ids under which the request and its repairs are booked; None: they
                get new ones.

        Raises:
            InvalidRequest: the type has no JSON schema, or the request cannot be asked with it.
            StructuredOutputInvalid: the last reply does not fit the type or the request's format.
            DevFlowError: no model answered, or the reply broke off.
        """

        async def ask_once(asked: ChatRequest, _number: int = 0) -> Completion:
            collector = Collector()
            opened = self._gateway.stream(
                asked,
                session=self._session,
                entry_id=None if ids is None else ids.take(),
                verification=self._verification,
                **self._labels,
            )
            async with opened as reply:
                async for event in reply:
                    collector.add(event)
            return reply.complete(collector)

        async def ask_checked(asked: ChatRequest) -> Completion:
            return await complete_structured(ask_once, asked, 0)

        kind = self._response_model
        if kind is None:
            return await complete_structured(ask_once, request, self._repairs)
        return await complete_parsed(ask_checked, request, kind, repairs=self._repairs)
