"""Settles a call in the books when it is over, however it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from devflow_sandbox.books.accounts import Key
from devflow_sandbox.books.billing_book import BilledCall, Outcome
from devflow_sandbox.catalogue.billing import BilledTokens, Charge
from devflow_sandbox.replies.generation import Generation
from devflow_sandbox.sandbox_state import SandboxState

BillingMode = Literal["provider", "full", "fees", "none"]
"""What a reply costs. `provider`: all of it or, if it is a stream that was not read to its end and
the provider stops billing then, the part that was sent; `full`: all of it; `fees`: the fees of
OpenRouter's services, without tokens; `none`: nothing.
"""


@dataclass(slots=True)
class Settlement:
    """A call from the provider's start until `settle`; reserves the worst case meanwhile."""

    state: SandboxState
    call: BilledCall
    key: Key
    generation: Generation
    outcome: Outcome = "completed"
    """The call's outcome if everything is sent; otherwise it is `cancelled`."""
    share: float = 1.0
    """The share of the reply that is to be sent, from 0 to 1; less than 1 if a fault cuts it."""
    billing: BillingMode = "provider"

    def __post_init__(self) -> None:
        # released by `settle`, which runs exactly once
        self.key.account.in_flight_usd += self.generation.charge.total

    def settle(self, share: float) -> None:
        """Book the call's cost and end, and release its worst case; called exactly once.

        Args:
            share: how much of what was to be sent was sent, from 0 to 1.
        """
        if share < 1.0:
            self.outcome, self.share = "cancelled", self.share * share
            # the client left before the fault happened, so the provider's rule applies
            self.billing = "provider" if self.billing in ("none", "fees") else self.billing
        call, generation, now_s = self.call, self.generation, self.state.now_s()
        self.key.account.in_flight_usd -= generation.charge.total
        call.outcome = self.outcome
        call.ended_s = now_s
        call.tokens, call.charge = self._compute_charge()
        self.key.pay(call.charge, now_s)

    def _compute_charge(self) -> tuple[BilledTokens, Charge]:
        generation = self.generation
        if self.billing == "none":
            return BilledTokens(prompt=generation.tokens.prompt), Charge()
        if self.billing == "fees":
            return BilledTokens(prompt=generation.tokens.prompt), generation.fees_only()
        is_billed_in_full = self.billing == "full" or not generation.provider.stops_on_cancel
        if self.share >= 1.0 or is_billed_in_full or not generation.request.stream:
            return generation.tokens, generation.charge
        tokens = generation.tokens.truncate(self.share)
        return tokens, generation.price(tokens)
