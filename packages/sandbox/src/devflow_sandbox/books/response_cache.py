"""OpenRouter's response cache: the same request again, for nothing."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from devflow_sandbox.books.accounts import Key
from devflow_sandbox.message import Request
from devflow_sandbox.replies.generation import Generation

DEFAULT_TTL_S = 300
_MOST_TTL_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A reply that may be given again."""

    done: Generation
    at_s: float
    ttl_s: int

    def headers(self, now_s: float) -> list[tuple[str, str]]:
        """What a hit says of itself."""
        return [
            ("X-OpenRouter-Cache-Status", "HIT"),
            ("X-OpenRouter-Cache-Age", str(int(now_s - self.at_s))),
            ("X-OpenRouter-Cache-TTL", str(self.ttl_s)),
            ("X-OpenRouter-Cache-Source-Id", self.done.id),
        ]


@dataclass(slots=True)
class ResponseCache:
    """Replies by key, path and body; the body byte for byte, so the order of its fields counts."""

    _kept: dict[bytes, Kept] = field(default_factory=dict[bytes, Kept])

    def find(self, request: Request, key: Key, now_s: float) -> Kept | None:
        """The reply to the same request, where the client wants the cache used."""
        if not _is_wanted(request):
            return None
        name = _name(request, key)
        if request.headers.get("x-openrouter-cache-clear", "").lower() == "true":
            self._kept.pop(name, None)
        kept = self._kept.get(name)
        return kept if kept is not None and now_s < kept.at_s + kept.ttl_s else None

    def keep(
        self, request: Request, key: Key, done: Generation, now_s: float
    ) -> list[tuple[str, str]]:
        """Keep a reply where the client wants it; what a miss says of itself."""
        if not _is_wanted(request):
            return []
        ttl = request.headers.get("x-openrouter-cache-ttl", "")
        ttl_s = int(ttl) if ttl.isascii() and ttl.isdigit() else DEFAULT_TTL_S
        ttl_s = max(1, min(ttl_s, _MOST_TTL_S))
        self._kept[_name(request, key)] = Kept(done=done, at_s=now_s, ttl_s=ttl_s)
        return [("X-OpenRouter-Cache-Status", "MISS"), ("X-OpenRouter-Cache-TTL", str(ttl_s))]


def _is_wanted(request: Request) -> bool:
    return request.headers.get("x-openrouter-cache", "").lower() == "true"


def _name(request: Request, key: Key) -> bytes:
    parts = f"{key.secret}\x00{request.path}\x00".encode()
    return hashlib.sha256(parts + request.body).digest()
