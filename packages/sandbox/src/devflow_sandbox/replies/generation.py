"""One reply under way: what was asked, who answers, what is said, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from devflow_sandbox.catalogue.billing import BilledTokens, Charge, to_json_number
from devflow_sandbox.catalogue.models import ResolvedModel
from devflow_sandbox.catalogue.providers import Provider
from devflow_sandbox.message import JsonObject
from devflow_sandbox.parsed_request import ParsedRequest
from devflow_sandbox.replies.reply import GeneratedReply


@dataclass(slots=True, kw_only=True)
class Generation:
    """Everything that a dialect needs to write a reply."""

    id: str
    created: int
    resolved: ResolvedModel
    provider: Provider
    request: ParsedRequest
    reply: GeneratedReply
    tokens: BilledTokens
    charge: Charge
    fees: Decimal = Decimal(0)
    """Of `charge`, searches and the like."""
    byok_fee_share: Decimal | None = None
    """With a provider key of the user's own: OpenRouter's share of the list price."""
    searches: int = 0
    metadata: JsonObject | None = None
    """`openrouter_metadata`, where it was asked for."""

    @property
    def native_finish(self) -> str:
        """`native_finish_reason`."""
        return self.provider.native_finish_reason(self.reply.finish_reason)

    @property
    def service_tier(self) -> str | None:
        """What the reply gives as `service_tier`: only OpenAI names one (recordings of 2026)."""
        return "default" if self.resolved.model.author == "openai" else None

    def cost_fields(self, prompt: str, completion: str) -> JsonObject:
        """`cost`, `is_byok` and `cost_details`, whose field names differ by dialect."""
        return {
            "cost": to_json_number(self.charge.total),
            "is_byok": self.charge.byok_fee is not None,
            "cost_details": {
                "upstream_inference_cost": to_json_number(self.charge.inference),
                f"upstream_inference_{prompt}_cost": to_json_number(self.charge.prompt),
                f"upstream_inference_{completion}_cost": to_json_number(self.charge.completion),
            },
        }
