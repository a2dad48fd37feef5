"""Lists the providers besides the main one, and connects those that the settings configure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from devflow_core.errors import ConfigurationError
from devflow_core.settings import Settings
from devflow_upstream.provider import ConnectedProvider, ModelRows, ProviderKind, merge_rows
from devflow_upstream.stack import connect_provider

PROVIDERS: tuple[ProviderKind, ...] = ()
"""One row per provider (see docs/extend/provider.md, tests/integration/test_every_provider.py)."""
Table = Sequence[ProviderKind]
"""The providers that may be configured."""


def find_configured(settings: Settings, table: Table = PROVIDERS) -> tuple[ProviderKind, ...]:
    """Return the providers that the settings give a key.

    Raises:
        ConfigurationError: the settings name an unknown provider.
    """
    known: Mapping[str, ProviderKind] = {kind.name: kind for kind in table}
    for name in settings.providers:
        if name not in known:
            names = ", ".join(known) or "none besides the main one"
            raise ConfigurationError(
                f"There is no provider {name!r} in [providers]; known: {names}."
            )
    return tuple(known[name] for name, own in settings.providers.items() if own.keys())


def list_model_rows(settings: Settings, table: Table = PROVIDERS) -> ModelRows:
    """Return the configured providers' models with the user's corrections, which take precedence.

    Raises:
        ConfigurationError: the settings name an unknown provider.
    """
    return merge_rows(find_configured(settings, table), settings.models)


def connect_providers(
    settings: Settings, table: Table = PROVIDERS
) -> tuple[ConnectedProvider, ...]:
    """Return the configured providers, ready to be asked; the caller closes each of them.

    Raises:
        ConfigurationError: the settings name an unknown provider.
    """
    return tuple(connect_provider(kind, settings) for kind in find_configured(settings, table))
