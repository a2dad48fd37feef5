"""Holds what a program may attach to the service object besides its constructor's arguments."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from devflow_core.ledger import Book

from devflow_openrouter.service.guard import PromptGuard
from devflow_openrouter.service.user_messages import Language


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAlert:
    """A refusal that a person should see: the key, the account or the request is at fault."""

    status: int
    """OpenRouter's HTTP status, 400 to 499 but not 408 or 429."""
    code: str
    message: str
    """What happened and what to do, in English; holds no key and no text of a prompt."""
    model: str | None
    """The model that was asked; None if unknown."""


AlertCallback = Callable[[ServiceAlert], Awaitable[None] | None]
"""Called with each alert; a coroutine is awaited for at most five seconds, errors are logged."""


@dataclass(slots=True, kw_only=True)
class ServiceOptions:
    """What a service does besides answering; all fields but `ledger` may be set at any time."""

    on_alert: AlertCallback | None = None
    """Called when OpenRouter refuses a request with a 4xx other than 408 and 429; None: no call."""
    guard: PromptGuard | None = None
    """Looks at every prompt before it is sent; None: nothing is looked at."""
    language: Language = "en"
    """The language of `user_message` in errors."""
    logs_excerpts: bool = False
    """Whether the beginnings of the last message and the reply are logged: below 512 characters."""
    ledger: Literal["durable", "memory"] | Book = "durable"
    """Where calls are booked: the ledger of the settings, one in memory that ends when the service
    is closed, or an open book, which its opener closes. It has to be set before the first call."""
