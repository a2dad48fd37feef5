"""Makes one reply with one provider: its content, what runs with it, and its cost."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from decimal import Decimal

from devflow_sandbox.api_error import in_flight_limit, invalid_request, no_endpoints
from devflow_sandbox.books.accounts import Key
from devflow_sandbox.catalogue.billing import BYOK_FEE, NO_CHARGE, BilledTokens
from devflow_sandbox.catalogue.services import Tier, image_tokens
from devflow_sandbox.extras.order import Order
from devflow_sandbox.extras.use import Appetite, ExtraUse, perform
from devflow_sandbox.message import JsonObject
from devflow_sandbox.parsed_request import ParsedRequest
from devflow_sandbox.provider_routing import ProviderTarget
from devflow_sandbox.replies.composer import compose
from devflow_sandbox.replies.generation import Generation
from devflow_sandbox.replies.obedience import stop_at
from devflow_sandbox.replies.reply import GeneratedReply
from devflow_sandbox.sandbox_state import SandboxState

BYOK_FREE_USD = Decimal(25_000)
"""The list price that the user's own keys cover without a fee.

OpenRouter renews it every month (documentation 2026-08), the stand-in never.
"""
_AUDIO_PER_TEXT_TOKEN = 4
"""Audio tokens per text token; with OpenRouter they depend on the speed of speech."""
_SHED_EVERY = 8
"""About one priority or ultrafast call in this many gets the default tier, as at busy providers."""


@dataclass(slots=True)
class ReplyMaker:
    """Makes a reply to one request with one provider."""

    state: SandboxState
    key: Key
    """The key whose account pays."""
    request: ParsedRequest
    order: Order
    target: ProviderTarget

    def make(self) -> Generation:
        """Return the reply with its price; nothing is booked yet.

        A turn of the script is used up, and the prompt cache is read and written.

        Raises:
            ApiError: 402 if the running calls may use up the balance; 404 if the model cannot
                produce the requested modality; 400 for audio without a stream, or an invalid
                schema.
        """
        request, target, account = self.request, self.target, self.key.account
        extras = self.use_extras()
        reply = self._write_reply(extras)
        choices = self.order.choices if self.state.setup.accepts_n else 1
        share = None
        if target.provider.slug in account.byok:
            share = BYOK_FEE if account.byok_used_usd >= BYOK_FREE_USD else Decimal(0)
        generation = Generation(
            id=self.state.new_id(),
            created=int(self.state.now_s()),
            resolved=target.resolved,
            provider=target.provider,
            request=request,
            reply=reply,
            tokens=self._count_tokens(reply, extras, choices),
            charge=NO_CHARGE,
            extras=extras,
            tier=self._served_tier(),
            choices=choices,
            byok_fee_share=share,
        )
        generation.charge = generation.price(generation.tokens)
        # running calls hold their worst case, so that several at once cannot overdraw the account
        if generation.charge.total > account.balance_usd - account.in_flight_usd:
            raise in_flight_limit()
        return generation

    def use_extras(self) -> ExtraUse:
        """Return the simulated use of extras: searches, fetches and calls to other models.

        The request orders them, or the model's name implies them.
        """
        order, resolved = self.order, self.target.resolved
        searches_always = resolved.model.author == "perplexity"
        if "online" in resolved.suffixes or searches_always:
            order = order.search_once()
        if resolved.router == "openrouter/fusion":
            order = order.ask_panel()
        setup = self.state.setup
        appetite = Appetite(seed=setup.seed, uses=setup.tool_uses)
        return perform(
            order,
            self.request,
            resolved,
            self.state.catalogue,
            appetite=appetite,
            now_s=self.state.now_s(),
        )

    def _write_reply(self, extras: ExtraUse) -> GeneratedReply:
        request, model = self.request, self.target.resolved.model
        reply = self.state.reply_script.next_reply(request, self.target.provider)
        reply = reply or compose(request, self.target.provider, seed=self.state.setup.seed)
        reply = stop_at(reply, request.body)
        limit = min(request.max_tokens or 10**9, model.max_completion_tokens)
        reply = self._add_media(reply.truncate(limit), limit)
        annotations: list[JsonObject] = []
        if extras.searches:
            annotations.append(_make_citation(reply))
        annotations += [
            {"type": "file", "file": {"hash": one.hash, "name": one.name, "content": []}}
            for one in extras.documents
        ]
        return replace(reply, annotations=tuple(annotations)) if annotations else reply

    def _add_media(self, reply: GeneratedReply, limit: int) -> GeneratedReply:
        """Add an image or speech, if `modalities` requests it.

        OpenAI makes images with a separate tool, outside the token limit. With Gemini an image is
        output like text, and is left out if the limit leaves no room for it.
        """
        wanted, model = self.order.modalities - {"text"}, self.target.resolved.model
        for modality in wanted:
            if not model.can_output(modality):
                raise no_endpoints(model.id, "that support the requested output modalities")
        if "audio" in wanted:
            if not self.request.stream:
                raise invalid_request("Audio output requires stream: true")
            tokens = _AUDIO_PER_TEXT_TOKEN * reply.completion_tokens
            return replace(reply, audio_tokens=min(tokens, limit - reply.completion_tokens))
        if "image" in wanted:
            tokens = image_tokens(model.author)
            if model.author != "openai" and reply.completion_tokens + tokens > limit:
                return replace(reply, finish_reason="length")
            return replace(reply, image_tokens=tokens)
        return reply

    def _served_tier(self) -> Tier:
        tier, setup = self.target.tier, self.state.setup
        number = len(self.state.billing.calls)
        # by seed and call number, so that a test can repeat it
        draw = hashlib.blake2b(repr((setup.seed, number)).encode(), digest_size=1).digest()[0]
        is_shed = tier in ("priority", "ultrafast") and draw % _SHED_EVERY == 0
        return "default" if is_shed else tier

    def _count_tokens(self, reply: GeneratedReply, extras: ExtraUse, choices: int) -> BilledTokens:
        model, request = self.target.resolved.model, self.request
        usage = self.state.prompt_cache.use(
            f"{self.key.account.user_id}|{model.id}|{self.target.provider.slug}",
            request.blocks,
            self.state.now_s(),
            is_explicit=not request.implicit_cache or model.author == "anthropic",
        )
        spoken = reply.completion_tokens + reply.image_tokens + reply.audio_tokens
        return BilledTokens(
            prompt=request.prompt_tokens + extras.prompt_tokens,
            cached=usage.cached,
            written=usage.written,
            written_1h=usage.written_1h,
            completion=spoken * choices + extras.completion_tokens,
            reasoning=reply.reasoning_tokens * choices,
            audio_in=request.audio_tokens,
            image_out=reply.image_tokens * choices,
            audio_out=reply.audio_tokens * choices,
            window=extras.window,
        )


def _make_citation(reply: GeneratedReply) -> JsonObject:
    """Return the annotation that a search leaves in a reply."""
    cited: JsonObject = {
        "url": "https://docs.python.org/3/",
        "title": "Python documentation",
        "content": "The official documentation.",
        "start_index": 0,
        "end_index": min(40, len(reply.text or "")),
    }
    return {"type": "url_citation", "url_citation": cited}
