"""Simulates OpenRouter's response cache: an identical request is answered again for free."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from devflow_sandbox.books.accounts import Key
from devflow_sandbox.message import SandboxRequest
from devflow_sandbox.replies.generation import Generation

DEFAULT_TTL_S = 300
"""Seconds that a reply is kept without the header `X-OpenRouter-Cache-TTL`."""
_MAX_TTL_S = 86_400
"""The most seconds that a reply is kept, whatever the header says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedGeneration:
    """A reply that may be repeated."""

    generation: Generation
    stored_s: float
    ttl_s: int

    def hit_headers(self, now_s: float) -> list[tuple[str, str]]:
        """Return the headers of a cache hit."""
        return [
            ("X-OpenRouter-Cache-Status", "HIT"),
            ("X-OpenRouter-Cache-Age", str(int(now_s - self.stored_s))),
            ("X-OpenRouter-Cache-TTL", str(self.ttl_s)),
            ("X-OpenRouter-Cache-Source-Id", self.generation.id),
        ]


@dataclass(slots=True)
class SandboxResponseCache:
    """Replies by key, path and body. Bodies are compared byte for byte, including field order."""

    _entries: dict[bytes, CachedGeneration] = field(default_factory=dict[bytes, CachedGeneration])

    def find(self, request: SandboxRequest, key: Key, now_s: float) -> CachedGeneration | None:
        """Return the reply to the same request; None if there is none that is still valid.

        Only a request with `X-OpenRouter-Cache: true` uses the cache. With
        `X-OpenRouter-Cache-Clear: true`, its entry is deleted, so that the call is a miss.
        """
        if not _is_requested(request):
            return None
        cache_key = _make_key(request, key)
        # clears this entry alone, and the call is then a miss
        if request.headers.get("x-openrouter-cache-clear", "").lower() == "true":
            self._entries.pop(cache_key, None)
        cached = self._entries.get(cache_key)
        return cached if cached is not None and now_s < cached.stored_s + cached.ttl_s else None

    def store(
        self, request: SandboxRequest, key: Key, generation: Generation, now_s: float
    ) -> list[tuple[str, str]]:
        """Store a reply if the client wants it, and return the headers of a miss; otherwise []."""
        if not _is_requested(request):
            return []
        ttl = request.headers.get("x-openrouter-cache-ttl", "")
        ttl_s = int(ttl) if ttl.isascii() and ttl.isdigit() else DEFAULT_TTL_S
        ttl_s = max(1, min(ttl_s, _MAX_TTL_S))
        self._entries[_make_key(request, key)] = CachedGeneration(
            generation=generation, stored_s=now_s, ttl_s=ttl_s
        )
        return [("X-OpenRouter-Cache-Status", "MISS"), ("X-OpenRouter-Cache-TTL", str(ttl_s))]


def _is_requested(request: SandboxRequest) -> bool:
    return request.headers.get("x-openrouter-cache", "").lower() == "true"


def _make_key(request: SandboxRequest, key: Key) -> bytes:
    parts = f"{key.secret}\x00{request.path}\x00".encode()
    return hashlib.sha256(parts + request.body).digest()
