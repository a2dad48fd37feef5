"""Builds the parts of a gateway from its settings: the router, the book in memory, the reader."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Literal

import structlog
from devflow_core.errors import ConfigurationError
from devflow_core.ledger import Book, Ledger
from devflow_core.memory import MemoryBook, MemoryLedger
from devflow_core.ports import Router as RouterPort
from devflow_core.request import ChatRequest
from devflow_core.settings import Settings
from devflow_core.summary import EntriesReader, LedgerReader
from devflow_core.usage import to_pico
from devflow_core.verification import VERIFIED_MODE, Verification
from devflow_routing import (
    LearnedFolder,
    LearnedTable,
    LiveCatalogue,
    Router,
    RoutingPolicy,
    Weights,
)
from devflow_upstream.provider import ModelRows

from devflow_openrouter.models.catalogue import make_catalogue, open_catalogue
from devflow_openrouter.models.endpoints import MAX_MODELS

_log = structlog.get_logger("devflow.routing")


def opens_ledger(book: Book | None, ledger: Ledger | Literal["memory"] | None) -> bool:
    """Return whether a gateway made with these opens the settings' ledger when it is entered."""
    return book is None and ledger != "memory"


def choose_catalogue(
    settings: Settings, *, is_durable: bool, rows: ModelRows | None = None
) -> LiveCatalogue:
    """Return the catalogue of the data folder, or one that is kept in memory.

    Args:
        settings: the data folder and the corrections.
        is_durable: whether the list last fetched into the data folder is used, and the next ones
            are saved there; otherwise the catalogue begins with the shipped list.
        rows: applied to every list instead of the settings' corrections, which they include.

    Raises:
        ConfigurationError: the saved list is damaged, or a correction is wrong.
    """
    make = open_catalogue if is_durable else make_catalogue
    return make(settings, rows=rows)


def build_router(
    settings: Settings, catalogue: LiveCatalogue, *, is_durable: bool = True
) -> Router:
    """Return a router with the settings' names and weights.

    It gets every new list of models, and all new scores.

    Args:
        settings: names, weights, and the data folder.
        catalogue: the list of models.
        is_durable: whether the data folder is used: what was learned from the user's answers.
    """
    policy = RoutingPolicy(
        aliases=settings.aliases,
        preferred_models=settings.preferred_models,
        fallbacks=settings.fallbacks,
        fallback_models=settings.fallback_models,
        nodes=settings.nodes,
        learn_quality=settings.learn_quality,
        weights=Weights(
            cost_priority=settings.cost_priority,
            performance_priority=settings.performance_priority,
        ),
        quality_floor=settings.quality_floor,
        allow_free=settings.allow_free,
        # if a budget applies, the book refuses an unknown price as well
        allow_unknown_price=settings.allow_unknown_price or settings.cost_budget_usd is None,
    )
    router = Router(
        catalogue.current,
        policy=policy,
        evidence=catalogue.evidence.current,
        learned=load_learned(settings) if is_durable else None,
    )
    catalogue.subscribe(router.set_catalogue)
    catalogue.evidence.subscribe(router.set_evidence)
    if missing := [name for name, model in router.preferred.items() if model is None]:
        _log.warning("preferred_models_unknown", names=missing)
    return router


def load_learned(settings: Settings) -> LearnedTable | None:
    """Return the learned table in use; None if there is none, or it cannot be read.

    A damaged table must not keep a gateway from starting: `devflow doctor` reports it.
    """
    try:
        return LearnedFolder(settings.data_dir).load()
    except ConfigurationError as error:
        _log.warning("learned_table_ignored", error=error.message)
        return None


async def follow_learned(settings: Settings, router: RouterPort, interval_s: float) -> None:
    """Give a router every table that is learned or undone from now on, until cancelled.

    A router of the caller's own is left alone.

    Args:
        settings: name the data folder.
        router: gets the tables.
        interval_s: the seconds between two looks into the folder.
    """
    if not isinstance(router, Router):
        return
    known = router.learned and router.learned.version
    while True:
        await asyncio.sleep(interval_s)
        newest = await asyncio.to_thread(_find_newest_table, settings)
        if newest != known:
            known = newest
            router.learned = await asyncio.to_thread(load_learned, settings)


def _find_newest_table(settings: Settings) -> str | None:
    """Return the version of the table in use; None if there is none, or it cannot be told."""
    try:
        kept = LearnedFolder(settings.data_dir).list()
    except ConfigurationError:  # reported by `load_learned`
        return None
    return kept[0].version if kept else None


def list_likely_models(router: RouterPort) -> tuple[str, ...]:
    """Return the models whose endpoints are worth asking for; none for a router of one's own."""
    return router.list_likely_models(MAX_MODELS) if isinstance(router, Router) else ()


def add_command(
    settings: Settings, names: RoutingPolicy, request: ChatRequest
) -> Verification | None:
    """Return the checks of the settings with their command, if a program asks `auto:verified`.

    Here and not in the pipeline, which servers ask as well: a command runs for programs only. None
    if the request is another, brings checks of its own, or the settings have no command.
    """
    is_meant = request.verification is None and names.resolve(request.model) == VERIFIED_MODE
    if not settings.verify or not is_meant:
        return None
    return replace(read_checks(settings), command=settings.verify)


def read_checks(settings: Settings) -> Verification:
    """Return the checks of `auto:verified` by the settings, but for the command."""
    return Verification(
        judge=settings.verify_judge,
        judge_max_usd=settings.verify_judge_max_usd,
        timeout_s=settings.verify_timeout_s,
    )


def build_memory_book(settings: Settings) -> MemoryBook:
    """Return a new book in memory, with the settings' budget as the limit of its whole life."""
    budget = settings.cost_budget_usd
    return MemoryBook(
        limit_pico=None if budget is None else to_pico(budget),
        allow_unknown_price=settings.allow_unknown_price,
    )


def build_reader(book: Book, views: list[Ledger]) -> LedgerReader:
    """Return the source of reports: the book if it can add up, otherwise the entries in memory.

    Args:
        book: where the entries become durable.
        views: gets one more view if the book cannot be read; reports then begin with this call.
    """
    if isinstance(book, LedgerReader):
        return book
    if isinstance(book, MemoryBook):
        ledger = book.ledger
    else:
        ledger = MemoryLedger()
        views.append(ledger)
    return EntriesReader(lambda: ledger.entries)
