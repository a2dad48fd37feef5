"""The one place where concrete classes meet: from settings to a gateway over a durable ledger."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import orjson
from devflow_core.errors import UnknownModel
from devflow_core.ledger import Tee, replay
from devflow_core.routing import SelectionCriteria
from devflow_openrouter import OpenRouterGateway
from devflow_openrouter.models import Catalogue, TaskClassifier
from devflow_openrouter.routing import (
    PerformanceTracker,
    Router,
    RoutingPolicy,
    SessionTracker,
)
from devflow_store import Budget, Store

if TYPE_CHECKING:
    from devflow_core.settings import Settings
    from devflow_core.usage import Price

LOOK_BACK = timedelta(days=1)
"""How far back performance and warm sessions are rebuilt at the start; both fade sooner."""
SETTINGS_BUDGET = "settings"
"""The id of the budget that `cost_budget_usd` sets."""
CATALOGUE_FILE = "models.json"


def store(settings: Settings) -> Store:
    """The durable store of the settings; enter it to write, read it as it is."""
    if settings.ledger_url is not None:
        return Store(settings.ledger_url)
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Store(settings.data_dir / "ledger.db")


def catalogue(settings: Settings) -> Catalogue:
    """OpenRouter's list as it was last fetched, else as shipped, with the user's corrections."""
    file = settings.data_dir / CATALOGUE_FILE
    found = Catalogue.shipped()
    if file.is_file():
        fetched = orjson.loads(file.read_bytes())
        found = Catalogue.from_openrouter(
            fetched["body"], fetched_at=datetime.fromisoformat(fetched["fetched_at"])
        )
    return found.with_overrides(settings.models) if settings.models else found


def price_list(known: Catalogue) -> Callable[[str], Price | None]:
    """Prices by any name of a model: OpenRouter's id or Claude Code's."""

    def price_of(model: str) -> Price | None:
        try:
            return known.find(model).price
        except UnknownModel:
            return None

    return price_of


def policy(settings: Settings) -> RoutingPolicy:
    """What the settings say about choosing."""
    return RoutingPolicy(
        aliases=settings.aliases,
        preferred_models=settings.preferred_models,
        fallbacks=settings.fallbacks,
        fallback_models=settings.fallback_models,
        nodes=settings.nodes,
        criteria=SelectionCriteria(
            cost_priority=settings.cost_priority,
            performance_priority=settings.performance_priority,
        ),
    )


@asynccontextmanager
async def open_gateway(settings: Settings) -> AsyncGenerator[OpenRouterGateway]:
    """A gateway whose ledger, budgets and views are those of the settings.

    Raises:
        StoreError: the ledger cannot be opened.
    """
    async with store(settings) as book:
        await _set_budget(settings, book)
        performance, sessions = PerformanceTracker(), SessionTracker()
        views = Tee(performance, sessions)
        replay(book.entries(since=datetime.now(UTC) - LOOK_BACK), views)
        router = Router(
            catalogue(settings),
            policy=policy(settings),
            performance=performance,
            sessions=sessions,
        )
        gateway = OpenRouterGateway(
            settings, router=router, classifier=TaskClassifier(), book=book, ledger=views
        )
        async with gateway:
            yield gateway


async def _set_budget(settings: Settings, book: Store) -> None:
    """Keep the monthly budget of the settings in step with them."""
    if settings.cost_budget_usd is None:
        await book.budgets.remove(SETTINGS_BUDGET)
        return
    await book.budgets.set(
        Budget(
            id=SETTINGS_BUDGET,
            scope="global",
            window="month",
            limit_usd=settings.cost_budget_usd,
            timezone=settings.budget_time_zone,
            thresholds=settings.budget_alert_at,
            allow_unknown_price=settings.allow_unknown_price,
        )
    )
