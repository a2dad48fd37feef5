"""The providers' prompt caches: what was written when, and what a prompt can read from it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from devflow_sandbox.parsed_request import Block

LEAST_TOKENS = 1024
"""Shorter prompts are not cached (OpenAI and most Claude models)."""
TTL_S = {"5m": 300.0, "1h": 3600.0}
IMPLICIT_TTL_S = 300.0
_STEP = 128
"""Implicit caches read in steps of so many tokens (OpenAI)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """How a prompt divides."""

    cached: int = 0
    written: int = 0
    written_1h: int = 0


@dataclass(slots=True)
class PromptCache:
    """Prefixes by hash with the time they are kept until. One per sandbox, split by `scope`."""

    _until: dict[bytes, float] = field(default_factory=dict[bytes, float])

    def use(self, scope: str, blocks: Sequence[Block], now_s: float, *, is_explicit: bool) -> Hit:
        """Read what is there, write what the prompt marks, and keep what was read for longer.

        Explicit caches (Claude) hold what `cache_control` marks and charge for writing; implicit
        ones (all others) hold every prompt and charge nothing for it.
        """
        if sum(block.tokens for block in blocks) < LEAST_TOKENS:
            return Hit()
        if is_explicit:
            return self._explicit(scope, blocks, now_s)
        return self._implicit(scope, blocks, now_s)

    def _explicit(self, scope: str, blocks: Sequence[Block], now_s: float) -> Hit:
        marks = [
            (digest, tokens, block.ttl)
            for digest, tokens, block in _prefixes(scope, blocks)
            if block.ttl is not None and tokens >= LEAST_TOKENS
        ]
        cached = 0
        for digest, tokens, _ in marks:
            if self._until.get(digest, 0.0) > now_s:
                cached = tokens
        written = written_1h = 0
        before = cached
        for digest, tokens, ttl in marks:
            if tokens > before:
                written += tokens - before
                written_1h += tokens - before if ttl == "1h" else 0
                before = tokens
            self._keep(digest, now_s + TTL_S[ttl or "5m"])
        return Hit(cached=cached, written=written, written_1h=written_1h)

    def _implicit(self, scope: str, blocks: Sequence[Block], now_s: float) -> Hit:
        cached = 0
        for digest, tokens, _ in _prefixes(scope, blocks):
            if self._until.get(digest, 0.0) > now_s:
                cached = tokens
            self._keep(digest, now_s + IMPLICIT_TTL_S)
        cached = cached // _STEP * _STEP
        return Hit(cached=cached if cached >= LEAST_TOKENS else 0)

    def _keep(self, digest: bytes, until_s: float) -> None:
        self._until[digest] = max(until_s, self._until.get(digest, 0.0))


def _prefixes(scope: str, blocks: Sequence[Block]) -> list[tuple[bytes, int, Block]]:
    """For each block the hash and the tokens of the prompt up to and with it."""
    running = hashlib.blake2b(scope.encode(), digest_size=16)
    tokens = 0
    found: list[tuple[bytes, int, Block]] = []
    for block in blocks:
        running.update(f"\x00{block.role}\x00{block.text}".encode(errors="surrogatepass"))
        tokens += block.tokens
        found.append((running.digest(), tokens, block))
    return found
