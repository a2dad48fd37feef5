"""Builds the pool of OpenRouter's keys from the settings, with what its limits apply to."""

from __future__ import annotations

from devflow_core.settings import Settings
from devflow_core.wire.errors import LIMIT_BY_ADDRESS
from devflow_upstream.keys import KeyPool, key_id
from devflow_upstream.limits import LimitRules
from devflow_upstream.policies.key_rotation import KeyRotation

__all__ = ["KEYS_PAGE", "KeyPool", "KeyRotation", "build_key_pool", "key_id"]

_LIMITS = LimitRules(
    # the money in flight of an account depends on the next request, not on the key
    shared=frozenset({"upstream_provider_shared_pool", "openrouter_in_flight_budget"}),
    of_key=frozenset({LIMIT_BY_ADDRESS}),
    of_models={"openrouter_free_tier_per_minute": lambda model: model.endswith(":free")},
)
"""What OpenRouter's limits apply to: one model ("different rate limits"), or all free ones.

What a key or an account may spend is reported as 402 or 403, and keeps the key from all models.
"""
KEYS_PAGE = "https://openrouter.ai/keys"
"""Where a user makes a key."""
_NO_KEY_MESSAGE = "There is no OpenRouter key. Set OPENROUTER_API_KEY, or send a key of your own."


def build_key_pool(settings: Settings) -> KeyPool:
    """Return the pool of the gateway's own keys; it may be empty.

    `api_keys` rotate. The single key, or the one stored by `devflow init`, is used when none of
    them can be.
    """
    pool = [key.get_secret_value() for key in settings.api_keys]
    return KeyPool(
        pool,
        next((key for key in settings.server_keys() if key not in pool), None),
        no_key_message=_NO_KEY_MESSAGE,
        limits=_LIMITS,
    )
