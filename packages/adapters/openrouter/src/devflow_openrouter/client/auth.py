"""OpenRouter's keys: the pool in rotation, then the single key, as the settings name them."""

from __future__ import annotations

from devflow_core.settings import Settings
from devflow_upstream.keys import KeyPool, key_id
from devflow_upstream.policies.key_rotation import KeyRotation

__all__ = ["KeyPool", "KeyRotation", "build_key_pool", "key_id"]

_SHARED_LIMITS = frozenset({"upstream_provider_shared_pool", "openrouter_in_flight_budget"})
"""429s and 402s that another key would meet as well, and that say nothing of this one."""
_NO_KEY_MESSAGE = "There is no OpenRouter key. Set OPENROUTER_API_KEY, or send a key of your own."


def build_key_pool(settings: Settings) -> KeyPool:
    """The gateway's own keys, in rotation."""
    single = settings.api_key.get_secret_value() if settings.api_key else None
    return KeyPool(
        [key.get_secret_value() for key in settings.api_keys],
        single,
        no_key_message=_NO_KEY_MESSAGE,
        shared_limits=_SHARED_LIMITS,
    )
