"""Builds the parts of a gateway from its settings: the router, the book in memory, the reader."""

from __future__ import annotations

from typing import Literal

import structlog
from devflow_core.ledger import Book, Ledger
from devflow_core.memory import MemoryBook, MemoryLedger
from devflow_core.settings import Settings
from devflow_core.summary import EntriesReader, LedgerReader
from devflow_core.usage import to_pico
from devflow_core.verification import Verification
from devflow_routing import LiveCatalogue, Router, RoutingPolicy, Weights
from devflow_upstream.provider import ModelRows

from devflow_openrouter.models.catalogue import make_catalogue, open_catalogue


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


def build_router(settings: Settings, catalogue: LiveCatalogue) -> Router:
    """Return a router with the settings' names and weights.

    It gets every new list of models, and all new scores.
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
    router = Router(catalogue.current, policy=policy, evidence=catalogue.evidence.current)
    catalogue.subscribe(router.set_catalogue)
    if missing := [name for name, model in router.preferred.items() if model is None]:
        structlog.get_logger("devflow.routing").warning("preferred_models_unknown", names=missing)
    catalogue.evidence.subscribe(router.set_evidence)
    return router


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
