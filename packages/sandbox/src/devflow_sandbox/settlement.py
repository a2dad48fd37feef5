"""The end of a call in the books: what is charged when it is over, however it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from devflow_sandbox.books.accounts import Key
from devflow_sandbox.books.billing_book import Billed, Outcome
from devflow_sandbox.catalogue.billing import Charge, Tokens
from devflow_sandbox.replies.generation import Generation
from devflow_sandbox.sandbox_state import World

Billing = Literal["provider", "full", "none"]
"""Who decides what a reply costs that was not read to its end: the provider's way (up to there,
or to its end), or a fault script."""


@dataclass(slots=True)
class Settlement:
    """Open from the moment the provider is asked until `end`; holds the worst case till then."""

    world: World
    call: Billed
    key: Key
    done: Generation
    outcome: Outcome = "completed"
    """How the call counts when all that was to be sent has been sent."""
    share: float = 1.0
    """How much of the reply that is."""
    billing: Billing = "provider"

    def __post_init__(self) -> None:
        self.key.account.in_flight_usd += self.done.charge.total

    def end(self, share: float) -> None:
        """The reply was sent up to `share` (0 to 1) of what was to be sent."""
        if share < 1.0:
            self.outcome, self.share = "cancelled", self.share * share
            self.billing = "provider" if self.billing == "none" else self.billing
        call, done, now_s = self.call, self.done, self.world.now_s()
        self.key.account.in_flight_usd -= done.charge.total
        call.outcome = self.outcome
        call.ended_s = now_s
        call.tokens, call.charge = self._charged()
        self._pay(call.charge, now_s)

    def _charged(self) -> tuple[Tokens, Charge]:
        done = self.done
        if self.billing == "none":
            return Tokens(prompt=done.tokens.prompt), Charge()
        is_billed_on = self.billing == "full" or not done.provider.stops_on_cancel
        if self.share >= 1.0 or is_billed_on or not done.ask.stream:
            return done.tokens, done.charge
        tokens = done.tokens.cut(self.share)
        charge = done.named.model.prices.charge(
            tokens, self.call.at_s, fees=done.fees, byok_fee_share=done.byok_fee_share
        )
        return tokens, charge

    def _pay(self, charge: Charge, now_s: float) -> None:
        account = self.key.account
        account.used_usd += charge.total
        self.key.usage.add(charge.total, now_s)
        if charge.byok_fee is not None:
            account.byok_used_usd += charge.inference
            self.key.byok_usage.add(charge.inference, now_s)
