"""From a request for a reply to its answer: choose, write, price, book, and say it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from devflow_sandbox.accounts import Key
from devflow_sandbox.answer import CORS, Answer, JsonObject, Pause, Request, Step
from devflow_sandbox.ask import Ask, parse
from devflow_sandbox.author import compose
from devflow_sandbox.billing import BYOK_FEE, Charge, Tokens
from devflow_sandbox.book import Billed
from devflow_sandbox.catalogue import Named
from devflow_sandbox.faults.errors import refused
from devflow_sandbox.faults.form import Fault, Status
from devflow_sandbox.faults.rules import Aim, Armed
from devflow_sandbox.faults.strike import strike
from devflow_sandbox.generation import Generation
from devflow_sandbox.refusal import Refusal, in_flight, no_credits, not_affordable
from devflow_sandbox.reply import Reply
from devflow_sandbox.routing import STICKY_S, Target, check_fit, targets
from devflow_sandbox.settlement import Settlement
from devflow_sandbox.world import World

BYOK_FREE_USD = Decimal(25_000)
"""So much list price a month goes over one's own keys without a fee (documentation 2026-08)."""

COMMENT = b": OPENROUTER PROCESSING\n\n"
PADDING = b"\n         \n"
DONE = b"data: [DONE]\n\n"
_COMMENT_EVERY = 40
_FINAL = frozenset({401, 402})
"""After these no fallback is tried: another model has the same key and the same credits."""


class Dialect(Protocol):
    """A module of `dialects`."""

    @property
    def read(self) -> Callable[[JsonObject], Ask]:
        """A body as a question."""
        ...

    @property
    def whole(self) -> Callable[[Generation], bytes]:
        """A reply as one body."""
        ...

    @property
    def stream(self) -> Callable[[Generation], list[bytes]]:
        """A reply as events, without comments and without `[DONE]`."""
        ...


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
        call.tokens, call.charge = done.tokens, Charge()
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
        done = inference.generate(inference.choose())
    except Refusal as refusal:
        call.outcome = "refused" if call.fault is None else "failed"
        call.status, call.ended_s = refusal.status, world.now_s()
        raise
    settlement = inference.book(done)
    said = _spoken(world, done, settlement, dialect)
    return said if inference.fault is None else strike(inference.fault, said, settlement)


def _spoken(world: World, done: Generation, settlement: Settlement, dialect: Dialect) -> Answer:
    steps: list[Step]
    if done.ask.stream:
        kind, steps = "text/event-stream", _streamed(done, dialect.stream(done))
    else:
        waits = 1 + len(done.reply.text or "") % 3
        kind = "application/json"
        steps = [PADDING * waits, dialect.whole(done)]
    headers = [
        ("Content-Type", kind),
        ("X-Generation-Id", done.id),
        ("X-Provider-Name", done.provider.name),
        *CORS,
    ]
    if done.ask.stream:
        headers.append(("Cache-Control", "no-cache"))
    total = len(steps)
    steps = _paced(world, steps)
    return Answer(
        status=200,
        headers=headers,
        steps=steps,
        settle=settlement.end,
        paced=len(steps) != total,
        total=total,
        head_delay_s=0.0,
    )


def _streamed(done: Generation, events: list[bytes]) -> list[Step]:
    """With comments before and between, as recorded, and the end of this dialect."""
    steps: list[Step] = [COMMENT] * (1 + done.tokens.prompt % 3)
    for start in range(0, len(events), _COMMENT_EVERY):
        if start:
            steps.append(COMMENT)
        steps += events[start : start + _COMMENT_EVERY]
    if done.ask.dialect != "messages":
        steps.append(DONE)
    return steps


def _paced(world: World, steps: list[Step]) -> list[Step]:
    """With the waits that the sandbox was set up with."""
    setup = world.setup
    if not setup.ttft_s and not setup.tokens_per_s:
        return steps
    gap_s = 1 / setup.tokens_per_s if setup.tokens_per_s else 0.0
    slow: list[Step] = [steps[0], Pause(setup.ttft_s)]
    for step in steps[1:]:
        slow += (Pause(gap_s), step)
    return slow


def _searches(named: Named, ask: Ask) -> int:
    is_asked = "online" in named.suffixes or "web" in ask.plugins
    return int(is_asked or "openrouter:web_search" in ask.server_tools)


def _last(failed: list[Refusal]) -> Refusal:
    last = failed[-1]
    if len(failed) > 1:
        before = [{"code": one.status, "message": one.message} for one in failed[:-1]]
        last.metadata = {**(last.metadata or {}), "previous_errors": before}
    return last
