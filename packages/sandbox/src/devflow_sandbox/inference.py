"""From a request for a reply to its answer: choose, write, price, book, and say it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal

from devflow_sandbox.api_error import Refusal, in_flight, no_credits, not_affordable
from devflow_sandbox.apply_fault import strike
from devflow_sandbox.books.accounts import Key
from devflow_sandbox.books.billing_book import Billed
from devflow_sandbox.catalogue.billing import BYOK_FEE, NO_CHARGE, NO_TOKENS, Tokens
from devflow_sandbox.catalogue.models import Named
from devflow_sandbox.delivery import Dialect, spoken
from devflow_sandbox.faults.errors import refused
from devflow_sandbox.faults.form import Fault, Status
from devflow_sandbox.faults.rules import Aim, Armed
from devflow_sandbox.message import Answer, JsonObject, Request
from devflow_sandbox.parsed_request import Ask, parse
from devflow_sandbox.replies.author import compose
from devflow_sandbox.replies.generation import Generation
from devflow_sandbox.replies.reply import Reply
from devflow_sandbox.routing import STICKY_S, Target, check_fit, targets
from devflow_sandbox.sandbox_state import World
from devflow_sandbox.settlement import Settlement

BYOK_FREE_USD = Decimal(25_000)
"""So much list price a month goes over one's own keys without a fee (documentation 2026-08)."""

_FINAL = frozenset({401, 402})
"""After these no fallback is tried: another model has the same key and the same credits."""


@dataclass(slots=True)
class Inference:
    """One request for a reply."""

    world: World
    request: Request
    call: Billed
    key: Key
    ask: Ask
    armed: Armed
    fault: Fault | None = None
    """What will strike the answer."""
    failed: list[JsonObject] = field(default_factory=list[JsonObject])
    """The attempts before the one that answers."""

    def reply(self) -> tuple[Generation, list[tuple[str, str]]]:
        """A reply out of the response cache or a new one, and what the cache says of it."""
        world, now_s = self.world, self.world.now_s()
        kept = world.responses.find(self.request, self.key, now_s)
        if kept is not None:
            self.call.cached_from = kept.done.id
            again = replace(
                kept.done, id=world.new_id(), tokens=NO_TOKENS, charge=NO_CHARGE, metadata=None
            )
            return again, kept.headers(now_s)
        target = self.choose()
        done = self.generate(target)
        if self.request.headers.get("x-openrouter-metadata", "").lower() == "enabled":
            done.metadata = self._metadata(done)
        return done, world.responses.keep(self.request, self.key, done, now_s)

    def _metadata(self, done: Generation) -> JsonObject:
        """`openrouter_metadata`: how the request was routed."""
        model, chosen = done.named.model, done.provider
        available = [
            {"provider": one.name, "model": model.id, "selected": one.name == chosen.name}
            for one in model.providers
        ]
        strategy = "direct"
        if done.named.router is not None:
            strategy = "free" if done.named.router == "openrouter/free" else "auto"
        elif done.named.requested.startswith("~"):
            strategy = "latest"
        elif self.failed:
            strategy = "fallback"
        metadata: JsonObject = {
            "requested": self.ask.models[0],
            "strategy": strategy,
            "region": "sandbox",
            "summary": f"available={len(available)}, selected={chosen.name}",
            "attempt": len(self.failed) + 1,
            "is_byok": done.charge.byok_fee is not None,
            "endpoints": {"total": len(available), "available": available},
        }
        if self.failed:
            last = {"provider": chosen.name, "model": model.id, "status": 200}
            metadata["attempts"] = [*self.failed, last]
        return metadata

    def choose(self) -> Target:
        """The first model and provider that take the request.

        Raises:
            Refusal: the last one's, with the others' under `previous_errors`.
        """
        failed: list[Refusal] = []
        for name in self.ask.models:
            try:
                return self._choose_for(name)
            except Refusal as refusal:
                if refusal.status in _FINAL:
                    raise
                failed.append(refusal)
        raise _last(failed)

    def _choose_for(self, name: str) -> Target:
        named = self.world.catalogue.resolve(name, pick=self.ask.turn + self.world.setup.seed)
        account = self.key.account
        if named.model.is_free:
            account.count_free(self.world.now_s())
        check_fit(named, self.ask)
        self._check_affordable(named)
        failed: list[Refusal] = []
        for target in targets(named, self.ask, byok=account.byok, sticky=self._sticky()):
            error, is_providers = self._struck(target, name)
            if error is None:
                return target
            failed.append(error)
            if not is_providers or error.status in _FINAL:
                break
        raise _last(failed)

    def _struck(self, target: Target, requested: str) -> tuple[Refusal | None, bool]:
        """The error with which a fault script lets this attempt fail, and whose it is."""
        model, provider = target.named.model, target.provider
        aim = Aim(
            request=self.request,
            key=self.key,
            stream=self.ask.stream,
            models=(model.id, requested),
            providers=(provider.slug, provider.name),
        )
        struck = self.armed.strike(aim)
        if struck is None:
            return None, False
        fault, self.call.fault = struck
        if not isinstance(fault.then, Status):
            self.fault = fault
            return None, False
        error = refused(
            fault.then, model=model.id, provider=provider.name, now_s=self.world.now_s()
        )
        attempt = {"provider": provider.name, "model": model.id, "status": error.status}
        self.failed.append(attempt)
        return error, fault.when.provider is not None

    def _sticky(self) -> str | None:
        if self.ask.session_id is None:
            return None
        slug, at_s = self.world.sticky.get(self.ask.session_id, (None, 0.0))
        return slug if self.world.now_s() - at_s < STICKY_S else None

    def _check_affordable(self, named: Named) -> None:
        """The balance has to cover the longest reply that was asked for."""
        prices, balance = named.model.prices, self.key.account.balance_usd
        if prices.is_free:
            return
        if balance <= 0:
            raise no_credits()
        most = self.ask.max_tokens or named.model.max_completion_tokens
        left = balance - self.ask.prompt_tokens * prices.prompt
        if most * prices.completion > left:
            raise not_affordable(most, max(0, int(left / (prices.completion or Decimal(1)))))

    def generate(self, target: Target) -> Generation:
        """What is answered, and what it costs.

        Raises:
            Refusal: 402, the calls under way may use up the balance.
        """
        ask, model, account = self.ask, target.named.model, self.key.account
        now_s = self.world.now_s()
        reply = self.world.director.reply(ask, target.provider)
        reply = reply or compose(ask, target.provider, seed=self.world.setup.seed)
        reply = reply.within(min(ask.max_tokens or 10**9, model.max_completion_tokens))
        searches = _searches(target.named, ask)
        if searches:
            reply = replace(reply, annotations=(_citation(reply),))
        fees = searches * model.prices.web_search
        share = None
        if target.provider.slug in account.byok:
            share = BYOK_FEE if account.byok_used_usd >= BYOK_FREE_USD else Decimal(0)
        tokens = self._count(target, reply)
        charge = model.prices.charge(tokens, now_s, fees=fees, byok_fee_share=share)
        if charge.total > account.balance_usd - account.in_flight_usd:
            raise in_flight()
        return Generation(
            id=self.world.new_id(),
            created=int(now_s),
            named=target.named,
            provider=target.provider,
            ask=ask,
            reply=reply,
            tokens=tokens,
            charge=charge,
            fees=fees,
            byok_fee_share=share,
            searches=searches,
        )

    def _count(self, target: Target, reply: Reply) -> Tokens:
        model = target.named.model
        hit = self.world.prompt_cache.use(
            f"{self.key.account.user_id}|{model.id}|{target.provider.slug}",
            self.ask.blocks,
            self.world.now_s(),
            is_explicit=not self.ask.implicit_cache or model.author == "anthropic",
        )
        return Tokens(
            prompt=self.ask.prompt_tokens,
            cached=hit.cached,
            written=hit.written,
            written_1h=hit.written_1h,
            completion=reply.completion_tokens,
            reasoning=reply.reasoning_tokens,
        )

    def book(self, done: Generation) -> Settlement:
        """Open the call in the books."""
        call = self.call
        self.world.book.name(call, done.id)
        call.generation = done
        call.served, call.provider = done.named.model.id, done.provider.name
        call.tokens, call.charge = done.tokens, NO_CHARGE
        if self.ask.session_id is not None:
            now_s = self.world.now_s()
            self.world.sticky[self.ask.session_id] = (done.provider.slug, now_s)
        return Settlement(self.world, call, self.key, done)


def answer(world: World, request: Request, dialect: Dialect) -> Answer:
    """The answer to a request for a reply.

    Raises:
        Refusal: whatever OpenRouter would say instead.
    """
    call = world.book.open(world.now_s(), request.path, None)
    call.user_agent = request.headers.get("user-agent")
    call.referer = request.headers.get("http-referer") or request.headers.get("referer")
    try:
        call.key = key = world.accounts.spender(request.headers, world.now_s())
        ask = dialect.read(parse(request.body))
        call.model, call.streamed = ask.models[0], ask.stream
        inference = Inference(world, request, call, key, ask, world.faults.arm())
        done, cached = inference.reply()
    except Refusal as refusal:
        call.outcome = "refused" if call.fault is None else "failed"
        call.status, call.ended_s = refusal.status, world.now_s()
        raise
    settlement = inference.book(done)
    said = spoken(world, done, settlement, dialect)
    said.headers += cached
    return said if inference.fault is None else strike(inference.fault, said, settlement)


def _searches(named: Named, ask: Ask) -> int:
    is_asked = "online" in named.suffixes or "web" in ask.plugins
    return int(is_asked or "openrouter:web_search" in ask.server_tools)


def _citation(reply: Reply) -> JsonObject:
    """What a search leaves in a reply."""
    cited: JsonObject = {
        "url": "https://docs.python.org/3/",
        "title": "Python documentation",
        "content": "The official documentation.",
        "start_index": 0,
        "end_index": min(40, len(reply.text or "")),
    }
    return {"type": "url_citation", "url_citation": cited}


def _last(failed: list[Refusal]) -> Refusal:
    last = failed[-1]
    if len(failed) > 1:
        before = [{"code": one.status, "message": one.message} for one in failed[:-1]]
        last.metadata = {**(last.metadata or {}), "previous_errors": before}
    return last
