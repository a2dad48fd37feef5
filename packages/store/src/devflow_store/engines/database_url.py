"""Chooses the engine for a path or a URL."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from devflow_core.errors import ConfigurationError
from devflow_core.settings import Settings

from devflow_store.database.engine import Engine
from devflow_store.engines.sqlite import SqliteEngine


def create_engine(database: str | Path | Engine, folder: Path | None = None) -> Engine:
    """Return the engine for a path or a `sqlite:///` or `postgresql://` URL; nothing is opened yet.

    Args:
        database: the database to open; an engine is returned unchanged.
        folder: for the store's own files if the database is on a server; None: the user's data
            folder.

    Raises:
        ConfigurationError: another kind of URL, or PostgreSQL's driver is not installed.
    """
    if isinstance(database, Path):
        return SqliteEngine(database)
    if not isinstance(database, str):
        return database
    scheme, is_url, _rest = database.partition("://")
    if not is_url:
        return SqliteEngine(Path(database))
    if scheme == "sqlite":
        path = unquote(urlsplit(database).path)
        return SqliteEngine(Path(path.removeprefix("/") if path.startswith("//") else path))
    if scheme in ("postgresql", "postgres"):
        return _create_postgres(database, folder or Settings.load(judge_folder=None).data_dir)
    raise ConfigurationError(
        f"A ledger cannot be kept at a {scheme}:// URL; use sqlite:///path or postgresql://…"
    )


def _create_postgres(url: str, folder: Path) -> Engine:
    try:
        from devflow_store.engines.postgres import PostgresEngine
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "PostgreSQL needs its driver: install `devflow-gateway-store[postgres]`."
        ) from error
    return PostgresEngine(url, folder=folder)
