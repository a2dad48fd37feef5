"""Lists the providers that stop charging when a stream is cancelled.

OpenRouter's documentation on cancelling a stream names both kinds (read 2026-08-22). A provider
that it does not name is assumed to keep charging: an entry must not say less than the bill.
"""

from __future__ import annotations

_STOP_ON_CANCEL = frozenset(
    {
        "anthropic", "anyscale", "avian", "azure", "chutes", "cloudflare", "cohere",
        "deepinfra", "deepseek", "fireworks", "friendli", "hyperbolic", "infermatic",
        "lepton", "liquid", "mancer", "nineteen", "novita", "octoai", "openai",
        "recursal", "sfcompute", "together", "xai",
    }
)  # fmt: skip


def bills_on_cancel(provider: str | None) -> bool:
    """Return whether a provider charges for what it generates after the reader has left.

    Args:
        provider: its display name or slug; None if unknown.
    """
    if provider is None:
        return True
    name = provider.partition("/")[0].lower().replace(" ", "").replace("-", "").replace(".", "")
    return name not in _STOP_ON_CANCEL
