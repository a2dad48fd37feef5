"""The one place where concrete classes meet: from settings to a gateway over a durable ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devflow_store import Store

if TYPE_CHECKING:
    from devflow_core.settings import Settings


def store(settings: Settings) -> Store:
    """The durable store of the settings; enter it to write, read it as it is.

    Raises:
        ConfigurationError: the data directory cannot be made.
    """
    if settings.ledger_url is not None:
        return Store(settings.ledger_url)
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Store(settings.data_dir / "ledger.db")
