"""Simulates how a provider's prompt cache would have served recorded turns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from devflow_core.usage import Price, Usage

SHORT_TTL_S, LONG_TTL_S = 300, 3600
"""Anthropic's two cache lifetimes in seconds; most other caches last about as long as the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """The token counts and time of one recorded call; no text."""

    thread: str
    """Turns of one thread continue the same conversation, so their prompts share a beginning."""
    started_at: datetime
    model: str
    usage: Usage
    cost_usd: Decimal | None = None
    """The recorded cost of the call; None if only the tokens were recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheRules:
    """The rules by which a model's provider caches prompts."""

    kind: Literal["explicit", "implicit", "none"]
    """`explicit`: caches where the client marks it, and charges for writing. `implicit`: always
    caches, and charges writing as ordinary input. `none`: caches nothing.
    """
    min_tokens: int = 0
    """The length of the shortest prefix that is cached, in tokens."""
    ttl_s: int = SHORT_TTL_S
    """Seconds that a prefix stays cached after its last use."""

    def describe(self) -> str:
        """Describe the rules in a phrase for people."""
        if self.kind == "none":
            return "no price for cached input: every turn pays for its whole prompt"
        return (
            f"{self.kind} prompt cache from {self.min_tokens:,} tokens on, "
            f"kept {self.ttl_s // 60} min"
        )


_LARGE_MINIMUM_MODELS = ("haiku-4.5", "opus-4.5", "opus-4.6", "opus-4.7", "opus-4.8", "opus-5")
"""Claude models that cache from 4,096 tokens on (Anthropic, "Prompt caching", 2026)."""


def rules_of(model: str, price: Price) -> CacheRules:
    """Return the caching rules of a model, derived from its author and prices.

    Minimum lengths and times to live are those of Anthropic's, OpenAI's, Google's and DeepSeek's
    guides to prompt caching, as of 2026. Other authors are assumed to cache as OpenAI does. Nothing
    is cached by a model whose cached input is not cheaper than its other input.
    """
    # a cache that is not cheaper is not a cache for our purpose
    if price.cache_read is None or price.cache_read >= price.prompt:
        return CacheRules(kind="none")
    author, _, name = model.lstrip("~").partition("/")
    match author:
        case "anthropic":
            is_large = any(part in name for part in _LARGE_MINIMUM_MODELS)
            return CacheRules(kind="explicit", min_tokens=4096 if is_large else 1024)
        case "deepseek":
            return CacheRules(kind="implicit", min_tokens=64, ttl_s=LONG_TTL_S)
        case "google":
            return CacheRules(kind="implicit", min_tokens=4096 if "pro" in name else 2048)
        case _:
            return CacheRules(kind="implicit", min_tokens=1024)


def simulate(turns: Iterable[Turn], rules: CacheRules) -> list[Usage]:
    """Return the usage of each turn as these rules would have counted it, in the order given.

    The turns of a thread have to be in chronological order. Prompts and replies keep their
    lengths: only the split of a prompt into read, written and other tokens changes.
    """
    last: dict[str, Turn] = {}
    usages: list[Usage] = []
    caching = _threads_with_cache(turns := list(turns))
    for turn in turns:
        previous = last.get(turn.thread)
        shared = _shared_prefix(turn, previous, was_cached=turn.thread in caching)
        usages.append(_simulate_turn(turn, previous, shared, rules))
        last[turn.thread] = turn
    return usages


def _threads_with_cache(turns: Iterable[Turn]) -> set[str]:
    return {
        turn.thread
        for turn in turns
        if turn.usage.cache_read_tokens or turn.usage.cache_write_tokens
    }


def _shared_prefix(turn: Turn, previous: Turn | None, *, was_cached: bool) -> int:
    """Return the tokens at the start of a prompt that had been sent before, as far as recorded.

    If the recorded provider cached and its cache was still warm, its count is exact. Otherwise a
    prompt that has grown is assumed to begin with the previous one.
    """
    read = turn.usage.cache_read_tokens
    if previous is None:
        return read
    # Within the short lifetime, the provider's count is exact. After it, a cold cache says nothing
    # about the prompt, and a prompt that shrank (a compaction) does not begin with the one before.
    is_reported = was_cached and _gap_s(turn, previous) <= SHORT_TTL_S
    has_grown = turn.usage.prompt_tokens >= previous.usage.prompt_tokens
    if is_reported or not has_grown:
        return read
    return max(read, previous.usage.prompt_tokens)


def _simulate_turn(turn: Turn, previous: Turn | None, shared: int, rules: CacheRules) -> Usage:
    prompt = turn.usage.prompt_tokens
    is_long_lived = turn.usage.cache_write_1h_tokens > 0
    # a client that paid for the hour would pay for it again
    ttl_s = LONG_TTL_S if rules.kind == "explicit" and is_long_lived else rules.ttl_s
    # a first turn with reads continues a conversation from before the record
    is_warm = previous is None or _gap_s(turn, previous) <= ttl_s
    is_hit = rules.kind != "none" and is_warm and shared >= rules.min_tokens
    read = shared if is_hit else 0
    is_written = rules.kind == "explicit" and prompt >= rules.min_tokens
    written = prompt - read if is_written else 0
    return Usage(
        input_tokens=prompt - read - written,
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=written if is_long_lived else 0,
        output_tokens=turn.usage.output_tokens,
        reasoning_tokens=turn.usage.reasoning_tokens,
    )


def _gap_s(turn: Turn, previous: Turn) -> float:
    return (turn.started_at - previous.started_at).total_seconds()
