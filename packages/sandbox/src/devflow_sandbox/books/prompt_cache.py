"""Simulates the providers' prompt caches: what was written when, and what a prompt can read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from devflow_sandbox.parsed_request import Block

MIN_TOKENS = 1024
"""The tokens of the shortest prompt that is cached (OpenAI and most Claude models)."""
TTL_S = {"5m": 300.0, "1h": 3600.0}
"""Lifetimes that a client may mark, in seconds (Anthropic)."""
IMPLICIT_TTL_S = 300.0
"""The lifetime in an implicit cache, in seconds."""
_READ_STEP_TOKENS = 128
"""The size of the steps in which implicit caches read (OpenAI)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheUsage:
    """The tokens of a prompt that were read from the cache, and those written to it."""

    cached: int = 0
    written: int = 0
    written_1h: int = 0
    """The part of `written` that is kept for an hour."""


@dataclass(slots=True)
class PromptCache:
    """Prefix hashes with their expiry times. One cache per sandbox, partitioned by `scope`."""

    _expires_s: dict[bytes, float] = field(default_factory=dict[bytes, float])

    def use(
        self, scope: str, blocks: Sequence[Block], now_s: float, *, is_explicit: bool
    ) -> CacheUsage:
        """Read cached prefixes, write what the prompt marks, and extend the life of what was read.

        Explicit caches (Claude) hold what `cache_control` marks, and charge for writing. Implicit
        ones (all others) hold every prompt, and charge nothing for writing. A prompt below
        `MIN_TOKENS` is not cached.

        Args:
            scope: the account, model and provider that share a cache.
            blocks: the whole prompt.
            now_s: Unix time.
            is_explicit: whether only marked prefixes are cached.
        """
        if sum(block.tokens for block in blocks) < MIN_TOKENS:
            return CacheUsage()
        if is_explicit:
            return self._use_explicit(scope, blocks, now_s)
        return self._use_implicit(scope, blocks, now_s)

    def _use_explicit(self, scope: str, blocks: Sequence[Block], now_s: float) -> CacheUsage:
        marks = [
            (digest, tokens, block.ttl)
            for digest, tokens, block in _hash_prefixes(scope, blocks)
            if block.ttl is not None and tokens >= MIN_TOKENS
        ]
        cached = 0
        for digest, tokens, _ in marks:
            if self._expires_s.get(digest, 0.0) > now_s:
                cached = tokens
        written = written_1h = 0
        covered = cached
        for digest, tokens, ttl in marks:
            if tokens > covered:
                written += tokens - covered
                written_1h += tokens - covered if ttl == "1h" else 0
                covered = tokens
            # reading renews the lifetime, as writing does
            self._extend(digest, now_s + TTL_S[ttl or "5m"])
        return CacheUsage(cached=cached, written=written, written_1h=written_1h)

    def _use_implicit(self, scope: str, blocks: Sequence[Block], now_s: float) -> CacheUsage:
        cached = 0
        for digest, tokens, _ in _hash_prefixes(scope, blocks):
            if self._expires_s.get(digest, 0.0) > now_s:
                cached = tokens
            self._extend(digest, now_s + IMPLICIT_TTL_S)
        cached = cached // _READ_STEP_TOKENS * _READ_STEP_TOKENS
        return CacheUsage(cached=cached if cached >= MIN_TOKENS else 0)

    def _extend(self, digest: bytes, expires_s: float) -> None:
        self._expires_s[digest] = max(expires_s, self._expires_s.get(digest, 0.0))


def _hash_prefixes(scope: str, blocks: Sequence[Block]) -> list[tuple[bytes, int, Block]]:
    """Return, for each block, hash and token count of the prompt up to and including it."""
    # a running hash: each prefix costs only its last block
    running = hashlib.blake2b(scope.encode(), digest_size=16)
    tokens = 0
    prefixes: list[tuple[bytes, int, Block]] = []
    for block in blocks:
        running.update(f"\x00{block.role}\x00{block.text}".encode(errors="surrogatepass"))
        tokens += block.tokens
        prefixes.append((running.digest(), tokens, block))
    return prefixes
