"""Represents one reply in progress: the request, the provider, the content and the cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from devflow_sandbox.catalogue.billing import BilledTokens, Charge, to_json_number
from devflow_sandbox.catalogue.models import ResolvedModel
from devflow_sandbox.catalogue.providers import Provider
from devflow_sandbox.catalogue.services import TIER_FACTOR, Tier
from devflow_sandbox.extras.use import ExtraUse
from devflow_sandbox.message import JsonObject
from devflow_sandbox.parsed_request import ParsedRequest
from devflow_sandbox.replies.reply import GeneratedReply


@dataclass(slots=True, kw_only=True)
class Generation:
    """Everything that a dialect needs to encode a reply."""

    id: str
    created: int
    """The Unix time in seconds, which also decides the prices."""
    resolved: ResolvedModel
    provider: Provider
    request: ParsedRequest
    reply: GeneratedReply
    tokens: BilledTokens
    charge: Charge
    extras: ExtraUse = field(default_factory=ExtraUse)
    """The services that ran with the reply; `charge` includes them."""
    tier: Tier = "default"
    """The service tier that was served."""
    choices: int = 1
    """The number of times that the reply is repeated and billed (`n`)."""
    byok_fee_share: Decimal | None = None
    """OpenRouter's share of the list price, with the user's own provider key; otherwise None."""
    metadata: JsonObject | None = None
    """`openrouter_metadata`, if requested."""

    @property
    def native_finish(self) -> str:
        """The `native_finish_reason`."""
        return self.provider.native_finish_reason(self.reply.finish_reason)

    @property
    def is_fast(self) -> bool:
        """Whether the reply was served by a fast Claude."""
        return self.resolved.model.author == "anthropic" and self.resolved.model.id.endswith(
            "-fast"
        )

    @property
    def service_tier(self) -> str | None:
        """The reply's `service_tier`, or None; only OpenAI names the default tier (recordings)."""
        if self.tier != "default":
            return self.tier
        return "default" if self.resolved.model.author == "openai" else None

    def price(self, tokens: BilledTokens) -> Charge:
        """Return the cost of these tokens of this reply, including what ran with it."""
        return self.resolved.model.prices.charge(
            tokens,
            self.created,
            provider_fees=self.extras.provider_fees,
            fees=self.extras.fees,
            byok_fee_share=self.byok_fee_share,
            # a fast Claude is a row with its own prices, which include the tier
            factor=TIER_FACTOR["default" if self.is_fast else self.tier],
        )

    def fees_only(self) -> Charge:
        """Return the cost of a failed reply: services that ran, but no tokens.

        Source: the documentation's "Zero completion insurance", What Is Covered.
        """
        byok = None if self.byok_fee_share is None else self.extras.fees
        return Charge(fees=self.extras.fees, byok_fee=byok)

    def tool_use_fields(self) -> JsonObject:
        """Return `server_tool_use_details` of a usage; {} if no tool ran with the reply."""
        extras = self.extras
        used: JsonObject = {"web_search_requests": extras.searches} if extras.searches else {}
        if extras.tool_calls:
            calls = extras.tool_calls
            used |= {"tool_calls_requested": calls, "tool_calls_executed": calls}
        return {"server_tool_use_details": used} if used else {}

    def cost_fields(self, prompt: str, completion: str) -> JsonObject:
        """Return `cost`, `is_byok` and `cost_details` of a usage.

        Args:
            prompt: the dialect's word for the prompt, in a name of `cost_details`.
            completion: its word for the completion.
        """
        return {
            "cost": to_json_number(self.charge.total),
            "is_byok": self.charge.byok_fee is not None,
            "cost_details": {
                "upstream_inference_cost": to_json_number(self.charge.inference),
                f"upstream_inference_{prompt}_cost": to_json_number(self.charge.prompt),
                f"upstream_inference_{completion}_cost": to_json_number(self.charge.completion),
            },
        }
