"""Holds the methods that ask: one set of arguments for `complete`, `stream`, `embed`, `explain`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from devflow_core.call_arguments import UsdAmount, apply_arguments
from devflow_core.pipeline import Completion, Reply
from devflow_core.ports import Classifier, ContextInjector, Router
from devflow_core.request import ChatRequest
from devflow_core.response import Collector
from devflow_core.routing import Route, SelectionCriteria
from devflow_core.verification import Verification
from devflow_store.keyed_outcomes import check_idempotency_key
from devflow_upstream.embeddings import (
    Embeddings,
    check_texts,
    collect_embeddings,
    decode_embeddings,
    embeddings_request,
)

from devflow_openrouter.opened import OpenedBook, inject_now
from devflow_openrouter.structured_output import complete_structured


class AskingGateway(ABC):
    """The part of a gateway that asks models."""

    router: Router
    """Chooses the models."""
    classifier: Classifier
    """Finds what a request is about."""

    @abstractmethod
    def _require_open(self) -> OpenedBook:
        """Return the parts that need an open book.

        Raises:
            ConfigurationError: the gateway has not been entered.
        """

    @abstractmethod
    async def learn_price(self, model: str) -> None:
        """Make the price of a model for embeddings known, if it can be; nothing is raised."""

    @abstractmethod
    def _own_checks(self, request: ChatRequest, given: Verification | None) -> Verification | None:
        """Return the checks of a program's request; None keeps the request's own.

        They are those given or, for a request that checks its answer, the settings with their
        command.
        """

    async def complete(  # noqa: PLR0913 - the arguments that every call takes
        self,
        request: ChatRequest,
        *,
        criteria: SelectionCriteria | None = None,
        session: ContextInjector | None = None,
        max_cost_usd: UsdAmount | None = None,
        project: str | Path | None = None,
        tags: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        repairs: int = 0,
        verification: Verification | None = None,
    ) -> Completion:
        """Return the whole reply, with its route, its cost and its entry in the ledger.

        Args:
            request: what is asked; its `response_format` is checked once the reply is complete,
                unless the reply calls tools.
            criteria: preferences for the choice; what is None in them keeps the request's.
            session: adds the context of a session first; None: nothing is added.
            max_cost_usd: the most that it may cost in the worst case, in USD; every repair may cost
                as much again.
            project: the project to book on: an existing folder, or a name.
            tags: short labels that are booked with it (see `devflow_core.call_arguments`).
            idempotency_key: the same key returns the stored reply without a second call, for a day;
                with another request it is refused.
            repairs: how often a reply that fails that check is asked for again, each time as a
                separate paid request that names the violations.
            verification: the checks that an answer has to pass; if one is refused, the next better
                model answers. None: the request's own, or those of the mode `auto:verified`.

        Raises:
            InvalidRequest: an argument, or the schema of the format, is invalid; nothing was sent.
            StructuredOutputInvalid: the last reply is complete but does not match the format.
            BudgetExceeded: a budget or `max_cost_usd` has not enough left for the next call.
            Conflict: the idempotency key was used with another request, its outcome is unknown, or
                another caller is still carrying it out.
            DevFlowError: no model answered, or the reply broke off; the entry is durable by then.
            StoreError: the entry could not be made durable.
            ConfigurationError: the gateway has not been entered.
        """
        opened = self._require_open()
        request = apply_arguments(
            request,
            criteria=criteria,
            max_cost_usd=max_cost_usd,
            project=project,
            tags=tags,
            verification=self._own_checks(request, verification),
        )

        async def ask(asked: ChatRequest, number: int) -> Completion:
            key = f"{idempotency_key}#{number}" if idempotency_key and number else idempotency_key
            collector = Collector()
            async with opened.stream(asked, session, key=key) as reply:
                async for event in reply:
                    collector.add(event)
            return reply.complete(collector)

        return await complete_structured(ask, request, repairs)

    def stream(  # noqa: PLR0913 - the arguments that every call takes
        self,
        request: ChatRequest,
        *,
        criteria: SelectionCriteria | None = None,
        session: ContextInjector | None = None,
        max_cost_usd: UsdAmount | None = None,
        project: str | Path | None = None,
        tags: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        entry_id: str | None = None,
        verification: Verification | None = None,
    ) -> AbstractAsyncContextManager[Reply]:
        """Return a context manager whose reply is iterated over for its events as they come.

        Entering waits for the first content; leaving early cancels the call. `response_format` is
        not checked. See `Pipeline.stream`, and `complete` for the arguments.

        Args:
            request: what is asked.
            criteria: preferences for the choice; what is None in them keeps the request's.
            session: adds the context of a session first; None: nothing is added.
            max_cost_usd: the most that it may cost in the worst case, in USD.
            project: the project to book on: an existing folder, or a name.
            tags: short labels that are booked with it.
            idempotency_key: the same key gives the stored events without a second call.
            entry_id: the id to book under, not together with an idempotency key; None: a new one.
            verification: see `complete`; the events come once the answer is accepted.

        Raises:
            InvalidRequest: an argument is invalid; at once, but on entry for an idempotency key.
            ConfigurationError: the gateway has not been entered; at once.
            Conflict: the idempotency key cannot be used (see `complete`); on entry.
            DevFlowError: on entry if no model began to answer, from the iterator if the reply broke
                off.
            StoreError: the entry could not be made durable.
        """
        request = apply_arguments(
            request,
            criteria=criteria,
            max_cost_usd=max_cost_usd,
            project=project,
            tags=tags,
            verification=self._own_checks(request, verification),
        )
        opened = self._require_open()
        return opened.stream(request, session, entry_id=entry_id, key=idempotency_key)

    async def embed(  # noqa: PLR0913 - the arguments that every call takes
        self,
        texts: str | Sequence[str],
        *,
        model: str,
        dimensions: int | None = None,
        criteria: SelectionCriteria | None = None,
        session: ContextInjector | None = None,
        max_cost_usd: UsdAmount | None = None,
        project: str | Path | None = None,
        tags: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> Embeddings:
        """Return the vectors of texts, from one call that is booked like every other.

        Args:
            texts: a text, or several.
            model: the id or an alias of a model for embeddings.
            dimensions: the length of the vectors; None: the model's own.
            criteria: without effect, since the model is named.
            session: its labels are booked; no context is added to the texts.
            max_cost_usd: the most that it may cost in the worst case, in USD.
            project: the project to book on: an existing folder, or a name.
            tags: short labels that are booked with it.
            idempotency_key: the same key returns the stored vectors without a second call.

        Raises:
            InvalidRequest, Conflict, ConfigurationError: see `complete`.
            DevFlowError: the model did not answer, or sent no vector for each text.
            StoreError: the entry could not be made durable.
        """
        opened = self._require_open()
        given = check_texts(texts)
        await self.learn_price(model)
        body: dict[str, Any] = {"model": model, "input": given}
        if dimensions is not None:
            body["dimensions"] = dimensions
        request = apply_arguments(
            embeddings_request(model, body, given),
            criteria=criteria,
            max_cost_usd=max_cost_usd,
            project=project,
            tags=tags,
        )
        reply = opened.stream_embeddings(request, session, idempotency_key)
        return decode_embeddings(*await collect_embeddings(reply), count=len(given))

    def explain(  # noqa: PLR0913 - the arguments that every call takes
        self,
        request: ChatRequest,
        criteria: SelectionCriteria | None = None,
        *,
        session: ContextInjector | None = None,
        max_cost_usd: UsdAmount | None = None,
        project: str | Path | None = None,
        tags: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> Route:
        """Return the route that a request would take now, with all reasons; no model is called.

        The gateway need not be entered; then nothing is known yet of how models performed.

        Args:
            request: what would be asked.
            criteria: preferences for the choice; what is None in them keeps the request's.
            session: its context is added first, as it would be.
            max_cost_usd: the most that it may cost in the worst case, in USD.
            project: checked, but without effect on the route.
            tags: checked, but without effect on the route.
            idempotency_key: checked, but nothing is stored.

        Raises:
            InvalidRequest: an argument is invalid, or the session waits for something.
            SessionError: the session cannot be read.
            DevFlowError: the router has no model for the request, or none within the cost.
        """
        request = apply_arguments(
            request, criteria=criteria, max_cost_usd=max_cost_usd, project=project, tags=tags
        )
        if idempotency_key is not None:
            check_idempotency_key(idempotency_key, "idempotency_key")
        if session is not None:
            request = inject_now(request, session)
        return self.router.explain(request, self.classifier.classify(request))
