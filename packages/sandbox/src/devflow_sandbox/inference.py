"""Answers a request for a reply: chooses a model, then writes, prices, books and encodes it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal

from devflow_sandbox.api_error import ApiError, no_credits, not_affordable
from devflow_sandbox.apply_fault import apply_fault
from devflow_sandbox.books.accounts import Key
from devflow_sandbox.books.billing_book import BilledCall
from devflow_sandbox.catalogue.billing import NO_CHARGE, NO_TOKENS, Charge
from devflow_sandbox.catalogue.models import ResolvedModel
from devflow_sandbox.delivery import ReplyDialect, build_answer
from devflow_sandbox.extras.order import PLAIN, Order, read_order, read_router_limits
from devflow_sandbox.extras.use import ExtraUse
from devflow_sandbox.faults.errors import make_error
from devflow_sandbox.faults.matching import FaultMatcher, RequestTarget
from devflow_sandbox.faults.schema import Fault, StatusFault
from devflow_sandbox.message import Answer, JsonObject, SandboxRequest
from devflow_sandbox.parsed_request import ParsedRequest, parse_body
from devflow_sandbox.provider_routing import STICKY_S, ProviderTarget, check_fit, list_targets
from devflow_sandbox.replies.generation import Generation
from devflow_sandbox.reply_maker import ReplyMaker
from devflow_sandbox.sandbox_state import SandboxState
from devflow_sandbox.settlement import Settlement

_FINAL_STATUSES = frozenset({401, 402})
"""No fallback after these: another model has the same key and the same credits."""


@dataclass(slots=True)
class Inference:
    """One request for a reply."""

    state: SandboxState
    request: SandboxRequest
    call: BilledCall
    key: Key
    parsed: ParsedRequest
    matcher: FaultMatcher
    fault: Fault | None = None
    """The fault to apply to the answer."""
    order: Order = PLAIN
    """The services that are ordered besides the reply."""
    failed_attempts: list[JsonObject] = field(default_factory=list[JsonObject])
    """Attempts before the one that answers."""
    failed_target: ProviderTarget | None = None
    """A failed attempt whose fault bills the services that ran before it; None without one."""

    def get_or_generate(self) -> tuple[Generation, list[tuple[str, str]]]:
        """Return a reply, from the response cache or new, with the headers of the cache.

        A reply from the cache has a new id and costs nothing.

        Raises:
            ApiError: no model takes the request at any provider, or see `ReplyMaker.make`.
        """
        state, now_s = self.state, self.state.now_s()
        cached = state.response_cache.find(self.request, self.key, now_s)
        if cached is not None:
            self.call.cached_from = cached.generation.id
            repeated = replace(
                cached.generation,
                id=state.new_id(),
                tokens=NO_TOKENS,
                charge=NO_CHARGE,
                extras=ExtraUse(),
                metadata=None,
            )
            return repeated, cached.hit_headers(now_s)
        generation = self._make_reply(self.choose_target())
        if self.request.headers.get("x-openrouter-metadata", "").lower() == "enabled":
            generation.metadata = self._build_metadata(generation)
        return generation, state.response_cache.store(self.request, self.key, generation, now_s)

    def _build_metadata(self, generation: Generation) -> JsonObject:
        """Return `openrouter_metadata`: how the request was routed."""
        model, chosen = generation.resolved.model, generation.provider
        available = [
            {"provider": one.name, "model": model.id, "selected": one.name == chosen.name}
            for one in model.providers
        ]
        strategy = "direct"
        if generation.resolved.router is not None:
            strategy = "free" if generation.resolved.router == "openrouter/free" else "auto"
        elif generation.resolved.requested.startswith("~"):
            strategy = "latest"
        elif self.failed_attempts:
            strategy = "fallback"
        metadata: JsonObject = {
            "requested": self.parsed.models[0],
            "strategy": strategy,
            "region": "sandbox",
            "summary": f"available={len(available)}, selected={chosen.name}",
            "attempt": len(self.failed_attempts) + 1,
            "is_byok": generation.charge.byok_fee is not None,
            "endpoints": {"total": len(available), "available": available},
        }
        if self.failed_attempts:
            last = {"provider": chosen.name, "model": model.id, "status": 200}
            metadata["attempts"] = [*self.failed_attempts, last]
        return metadata

    def choose_target(self) -> ProviderTarget:
        """Return the first model and provider that take the request.

        Raises:
            ApiError: the error of the last attempt, with the others under `previous_errors`; a 401
                or 402 is raised at once, since other models would get the same.
        """
        failed: list[ApiError] = []
        for name in self.parsed.models:
            try:
                return self._choose_for(name)
            except ApiError as error:
                if error.status in _FINAL_STATUSES:
                    raise
                failed.append(error)
        raise _merge_errors(failed)

    def _choose_for(self, name: str) -> ProviderTarget:
        resolved = self.state.catalogue.resolve(
            name,
            pick=self.parsed.turn + self.state.setup.seed,
            limits=read_router_limits(self.parsed.body, name.split(":")[0]),
        )
        account = self.key.account
        if resolved.model.is_free:
            account.count_free_call(self.state.now_s())
        # before the balance: an impossible request is refused for what it is
        check_fit(resolved, self.parsed)
        self._check_affordable(resolved)
        failed: list[ApiError] = []
        for target in self._list_targets(resolved):
            error, is_providers = self._match_fault(target, name)
            if error is None:
                return target
            failed.append(error)
            # a fault of the model, not of one provider, is the same at the next
            if not is_providers or error.status in _FINAL_STATUSES:
                break
        raise _merge_errors(failed)

    def _list_targets(self, resolved: ResolvedModel) -> list[ProviderTarget]:
        """List the attempts for one model; if speed is requested, those of Claude's fast row first.

        Only Anthropic serves the fast row ("Fast Mode", Routing behavior).
        """

        def list_for(model: ResolvedModel) -> list[ProviderTarget]:
            return list_targets(
                model,
                self.parsed,
                self.order,
                byok=self.key.account.byok,
                sticky=self._sticky_provider(),
            )

        sibling = None
        if self.order.tier == "priority":
            sibling = self.state.catalogue.fast_sibling(resolved)
        if sibling is None:
            return list_for(resolved)
        fast = [one for one in list_for(sibling) if one.provider.name == "Anthropic"]
        return [replace(one, tier="priority") for one in fast] or list_for(resolved)

    def _match_fault(self, target: ProviderTarget, requested: str) -> tuple[ApiError | None, bool]:
        """Return the fault script's error for this attempt, and whether it is the provider's."""
        model, provider = target.resolved.model, target.provider
        request_target = RequestTarget(
            request=self.request,
            key=self.key,
            stream=self.parsed.stream,
            models=(model.id, requested),
            providers=target.slugs,
        )
        matched = self.matcher.match(request_target)
        if matched is None:
            return None, False
        fault, self.call.fault = matched
        if not isinstance(fault.then, StatusFault):
            self.fault = fault
            return None, False
        error = make_error(
            fault.then, model=model.id, provider=provider.name, now_s=self.state.now_s()
        )
        if fault.billed == "fees":
            self.failed_target = target
        attempt = {"provider": provider.name, "model": model.id, "status": error.status}
        self.failed_attempts.append(attempt)
        return error, fault.when.provider is not None

    def _sticky_provider(self) -> str | None:
        if self.parsed.session_id is None:
            return None
        slug, last_used_s = self.state.sticky_providers.get(self.parsed.session_id, (None, 0.0))
        return slug if self.state.now_s() - last_used_s < STICKY_S else None

    def _check_affordable(self, resolved: ResolvedModel) -> None:
        """Check that the balance covers the longest reply requested."""
        prices, balance = resolved.model.prices, self.key.account.balance_usd
        if prices.is_free:
            return
        if balance <= 0:
            raise no_credits()
        max_tokens = self.parsed.max_tokens or resolved.model.max_completion_tokens
        remaining = balance - self.parsed.prompt_tokens * prices.prompt
        if max_tokens * prices.completion > remaining:
            raise not_affordable(
                max_tokens, max(0, int(remaining / (prices.completion or Decimal(1))))
            )

    def _make_reply(self, target: ProviderTarget) -> Generation:
        return ReplyMaker(self.state, self.key, self.parsed, self.order, target).make()

    def bill_fees(self, error: ApiError) -> None:
        """Bill what ran before all models failed, if anything: searches and the pages of PDFs.

        A charge needs a generation id, so `error` then gets one in the header `X-Generation-Id`.
        """
        target = self.failed_target
        if target is None:
            return
        maker = ReplyMaker(self.state, self.key, self.parsed, self.order, target)
        extras = maker.use_extras()
        if not extras.first_fees:
            return
        call, now_s = self.call, self.state.now_s()
        self.state.billing.assign_id(call, self.state.new_id())
        call.served_model, call.provider = target.resolved.model.id, target.provider.name
        call.charge = Charge(fees=extras.first_fees)
        call.extras = [one for one in extras.items if one.is_first]
        self.key.pay(call.charge, now_s)
        error.headers["X-Generation-Id"] = call.generation_id or ""

    def open_settlement(self, generation: Generation) -> Settlement:
        """Record the call in the books, to be settled when the reply ends."""
        call = self.call
        self.state.billing.assign_id(call, generation.id)
        call.generation = generation
        call.served_model, call.provider = generation.resolved.model.id, generation.provider.name
        call.tokens, call.charge = generation.tokens, NO_CHARGE
        call.extras = generation.extras.items
        if self.parsed.session_id is not None:
            now_s = self.state.now_s()
            self.state.sticky_providers[self.parsed.session_id] = (generation.provider.slug, now_s)
        return Settlement(self.state, call, self.key, generation)


def answer_request(state: SandboxState, request: SandboxRequest, dialect: ReplyDialect) -> Answer:
    """Return the answer to a request for a reply, with the fault that applies to it.

    The call is in the billing book, whatever becomes of it.

    Raises:
        ApiError: the error that OpenRouter would return instead.
    """
    call = state.billing.open_call(state.now_s(), request.path, None)
    call.user_agent = request.headers.get("user-agent")
    call.referer = request.headers.get("http-referer") or request.headers.get("referer")
    inference: Inference | None = None
    try:
        call.key = key = state.accounts.authorise_spending(request.headers, state.now_s())
        parsed = dialect.parse_request(parse_body(request.body))
        call.model, call.streamed = parsed.models[0], parsed.stream
        inference = Inference(state, request, call, key, parsed, state.faults.make_matcher())
        inference.order = read_order(parsed.body)
        generation, cache_headers = inference.get_or_generate()
    except ApiError as error:
        # refused by OpenRouter itself, or failed at a provider
        call.outcome = "refused" if call.fault is None else "failed"
        call.status, call.ended_s = error.status, state.now_s()
        if inference is not None:
            inference.bill_fees(error)
        raise
    settlement = inference.open_settlement(generation)
    answer = build_answer(state, generation, settlement, dialect)
    answer.headers += cache_headers
    return answer if inference.fault is None else apply_fault(inference.fault, answer, settlement)


def _merge_errors(failed: list[ApiError]) -> ApiError:
    last = failed[-1]
    if len(failed) > 1:
        previous = [{"code": one.status, "message": one.message} for one in failed[:-1]]
        last.metadata = {**(last.metadata or {}), "previous_errors": previous}
    return last
