"""Holds all state of a sandbox, and its clock."""

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
    """The behaviour of a sandbox; the defaults suit most tests."""

    seed: int = 0
    """Determines replies, ids and keys; nothing is random."""
    credits_usd: Decimal = Decimal(100)
    """The credits of the default account, in USD."""
    tokens_per_s: float | None = None
    """Events of a stream per second, about a token each; None: as fast as the client reads."""
    ttft_s: float = 0.0
    """Seconds until the first event or the body; a comment or white space is sent before them."""
    generation_delay_s: float = 0.5
    """Seconds until `GET /generation` knows a call, as with OpenRouter."""
    totals_delay_s: float = 0.0
    """Seconds until `GET /key` counts a call."""
    byok: frozenset[str] = frozenset()
    """The slugs of the providers for which the default account has its own keys."""
    tool_uses: int | None = None
    """Uses of each tool that OpenRouter runs, within the request's limits; models behind tools then
    write as much as they may. None: 1 to 3 times, by the seed.
    """
    accepts_n: bool = False
    """Whether `n` is obeyed and every choice billed; OpenRouter does not describe this field."""
    accept_any_key: bool = False
    """Whether unknown keys are added to the default account instead of being refused."""
    models: Sequence[JsonObject] = ()
    """More catalogue rows, in the form of `GET /models`; they replace rows of the same id."""
    clock: Callable[[], float] = time.time
    """Returns the Unix time in seconds, which decides about caches, limits and days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A user's consent, waiting for its code to be exchanged for a key."""

    challenge: str | None
    """The challenge that the verifier has to match; None: any verifier does."""
    method: str
    """`S256` or `plain`: how the verifier becomes the challenge."""
    at_s: float
    """The Unix time of the consent."""


@dataclass(slots=True)
class SandboxState:
    """All state of a sandbox; only the thread that answers changes it."""

    setup: Setup
    catalogue: SandboxCatalogue = field(init=False)
    accounts: Accounts = field(init=False)
    account: Account = field(init=False)
    """The default account."""
    api_key: Key = field(init=False)
    management_key: Key = field(init=False)
    billing: BillingBook = field(default_factory=BillingBook)
    prompt_cache: PromptCache = field(default_factory=PromptCache)
    response_cache: SandboxResponseCache = field(default_factory=SandboxResponseCache)
    grants: dict[str, Grant] = field(default_factory=dict[str, Grant])
    """The grants by authorization code."""
    sticky_providers: dict[str, tuple[str, float]] = field(
        default_factory=dict[str, tuple[str, float]]
    )
    """The slug of each conversation's provider, and the Unix time of its last call."""
    faults: FaultRules = field(default_factory=FaultRules)
    reply_script: ScriptRunner = field(default_factory=ScriptRunner)
    clock_offset_s: float = 0.0
    """Seconds by which the clock was moved forward."""
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
        """Return the sandbox's Unix time in seconds, with what it was moved forward by."""
        return self.setup.clock() + self.clock_offset_s

    def add_key(
        self, name: str, *, account: Account | None = None, is_management: bool = False
    ) -> Key:
        """Create a key and return it, on the default account unless another is given."""
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
        """Return `<kind>-<unix>-<20 letters and digits>`, unique within the sandbox."""
        self._last_id += 1
        number = (
            # SplitMix64's odd constants spread consecutive ids over the whole range
            self._last_id * 0x9E3779B97F4A7C15 + self.setup.seed * 0xBF58476D1CE4E5B9
        ) & _MASK_64
        number = number << 64 | (number * 0x94D049BB133111EB & _MASK_64)
        letters: list[str] = []
        for _ in range(20):
            number, remainder = divmod(number, 62)
            letters.append(_ALPHABET[remainder])
        return f"{kind}-{int(self.now_s())}-{''.join(letters)}"


_MASK_64 = (1 << 64) - 1
