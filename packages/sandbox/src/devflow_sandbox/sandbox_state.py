"""All state of one sandbox: what lives as long as it does, and its clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from devflow_sandbox.books.accounts import Account, Accounts, Key, make_secret_key
from devflow_sandbox.books.billing_book import BillingBook
from devflow_sandbox.books.prompt_cache import PromptCache
from devflow_sandbox.books.response_cache import SandboxResponseCache
from devflow_sandbox.catalogue.models import SandboxCatalogue
from devflow_sandbox.faults.matching import FaultRules
from devflow_sandbox.message import JsonObject
from devflow_sandbox.replies.script import ScriptRunner

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """How a sandbox behaves. Every field has a default that suits most tests."""

    seed: int = 0
    """Replies, ids and keys depend on it and on nothing random."""
    credits_usd: Decimal = Decimal(100)
    """What the default account has bought."""
    tokens_per_s: float | None = None
    """How fast a reply is streamed; None: as fast as the client reads."""
    ttft_s: float = 0.0
    """How long the first byte of a reply takes."""
    generation_delay_s: float = 0.5
    """For so long `GET /generation` knows nothing of a call, as there."""
    totals_delay_s: float = 0.0
    """For so long `GET /key` leaves a call out of what was used."""
    byok: frozenset[str] = frozenset()
    """Slugs of providers for which the default account has keys of its own."""
    tool_uses: int | None = None
    """How often a model uses each tool that OpenRouter runs, within what the request allows, and
    models behind tools then say as much as they may. None: 1 to 3 times, by the seed."""
    accepts_n: bool = False
    """`n` is heeded and every choice billed; OpenRouter's description does not know the field."""
    accept_any_key: bool = False
    """Keys that nobody has are opened on the default account instead of turned away."""
    models: Sequence[JsonObject] = ()
    """More rows for the catalogue, in the form of `GET /models`; they win over its own."""
    clock: Callable[[], float] = time.time
    """Unix time in seconds; caches, limits and days go by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A user's consent that waits for its code to be exchanged for a key."""

    challenge: str | None
    method: str
    at_s: float


@dataclass(slots=True)
class SandboxState:
    """All that a sandbox holds. Changed by one thread only, the one that answers."""

    setup: Setup
    catalogue: SandboxCatalogue = field(init=False)
    accounts: Accounts = field(init=False)
    account: Account = field(init=False)
    api_key: Key = field(init=False)
    management_key: Key = field(init=False)
    billing: BillingBook = field(default_factory=BillingBook)
    prompt_cache: PromptCache = field(default_factory=PromptCache)
    response_cache: SandboxResponseCache = field(default_factory=SandboxResponseCache)
    grants: dict[str, Grant] = field(default_factory=dict[str, Grant])
    """By authorisation code."""
    sticky_providers: dict[str, tuple[str, float]] = field(
        default_factory=dict[str, tuple[str, float]]
    )
    """Conversation → provider and the time of its last call."""
    faults: FaultRules = field(default_factory=FaultRules)
    reply_script: ScriptRunner = field(default_factory=ScriptRunner)
    clock_offset_s: float = 0.0
    """How far the clock was put forward."""
    _last_id: int = 0

    def __post_init__(self) -> None:
        setup = self.setup
        self.catalogue = SandboxCatalogue.load(setup.models)
        self.account = Account(
            user_id=f"user_sandbox{setup.seed}", credits_usd=setup.credits_usd, byok=setup.byok
        )
        self.accounts = Accounts()
        if setup.accept_any_key:
            self.accounts.account_for_unknown_keys = self.account
        self.api_key = self.add_key("sandbox")
        self.management_key = self.add_key("management", is_management=True)

    def now_s(self) -> float:
        """Unix time here."""
        return self.setup.clock() + self.clock_offset_s

    def add_key(
        self, name: str, *, account: Account | None = None, is_management: bool = False
    ) -> Key:
        """Open a key, on the default account unless another is given."""
        secret = make_secret_key("devflow-sandbox", self.setup.seed, name, len(self.accounts.keys))
        key = Key(
            secret=secret,
            account=account or self.account,
            name=name,
            created_s=self.now_s(),
            is_management=is_management,
        )
        return self.accounts.add(key)

    def new_id(self, kind: str = "gen") -> str:
        """`gen-<unix>-<20 letters and digits>`, never twice in one sandbox."""
        self._last_id += 1
        number = (
            self._last_id * 0x9E3779B97F4A7C15 + self.setup.seed * 0xBF58476D1CE4E5B9
        ) & _MASK_64
        number = number << 64 | (number * 0x94D049BB133111EB & _MASK_64)
        letters: list[str] = []
        for _ in range(20):
            number, remainder = divmod(number, 62)
            letters.append(_ALPHABET[remainder])
        return f"{kind}-{int(self.now_s())}-{''.join(letters)}"


_MASK_64 = (1 << 64) - 1
