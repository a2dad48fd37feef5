"""Simulates how much of an order is used, by a seeded draw, and computes what that costs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from devflow_sandbox.api_error import ApiError
from devflow_sandbox.catalogue.billing import BilledTokens, decimal_text
from devflow_sandbox.catalogue.models import Model, ResolvedModel, SandboxCatalogue
from devflow_sandbox.catalogue.services import (
    OCR_PAGE_USD,
    TOKENS_PER_FETCH,
    EngineFee,
    fetch_engine,
    image_tokens,
    native_search_tokens,
    search_engine,
)
from devflow_sandbox.document import Document
from devflow_sandbox.extras.model_order import ModelOrder
from devflow_sandbox.extras.order import FetchOrder, Order, SearchOrder, read_hashes
from devflow_sandbox.message import JsonObject
from devflow_sandbox.parsed_request import ParsedRequest

CALL_TOKENS = 20
"""Output tokens of a tool call; about the figure of recorded calls of an advisor and a search."""
_SHORT_PROMPT_TOKENS = 120
"""Tokens a model writes to an advisor, subagent or painter: a guess from the recorded costs."""
_MAX_BY_DRAW = 3
"""The most uses of a tool if their number is drawn; the least is 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extra:
    """One item of a bill besides the tokens of the reply."""

    kind: str
    """`web_search`, `built_in_search` of models that only search, `web_fetch`, `pdf`, `advisor`,
    `subagent`, `image_generation`, `fusion`.
    """
    name: str
    """The engine, or the model that was called."""
    count: int
    """The number of uses; for `pdf`, of pages."""
    usd: Decimal
    """The amount in USD for all uses together."""
    is_native: bool = False
    """Whether the model's provider charges this item, not OpenRouter."""
    is_first: bool = False
    """Whether the service ran before the model: it is billed even if the model then fails."""
    results: int = 0
    """The number of search results; 0 for other items and for a provider's own engine."""

    def to_row(self) -> JsonObject:
        """Return the item as a row of the bill; the amount is decimal text in USD."""
        usd = decimal_text(self.usd)
        return {"kind": self.kind, "name": self.name, "count": self.count, "usd": usd}


@dataclass(slots=True)
class ExtraUse:
    """All items of one call, and the tokens they add to it."""

    items: list[Extra] = field(default_factory=list[Extra])
    prompt_tokens: int = 0
    """Tokens added to the request's: results, and the prompt repeated after each tool call."""
    window: int | None = None
    """The tokens of the longest prompt that was sent; None if there is nothing to simulate."""
    completion_tokens: int = 0
    """Output tokens in addition to the reply's: those of the tool calls."""
    tool_calls: int = 0
    """Calls of tools that OpenRouter ran, not the provider."""
    documents: tuple[Document, ...] = ()
    """PDFs that OpenRouter read."""

    @property
    def fees(self) -> Decimal:
        """The fees that OpenRouter charges for the items, in USD."""
        return sum((one.usd for one in self.items if not one.is_native), Decimal(0))

    @property
    def provider_fees(self) -> Decimal:
        """The fees that the model's provider charges for the items, in USD."""
        return sum((one.usd for one in self.items if one.is_native), Decimal(0))

    @property
    def first_fees(self) -> Decimal:
        """The fees in USD that are owed even if the model failed."""
        return sum((one.usd for one in self.items if one.is_first), Decimal(0))

    @property
    def searches(self) -> int:
        """The number of web searches."""
        return sum(one.count for one in self.items if one.kind == "web_search")


@dataclass(frozen=True, slots=True, kw_only=True)
class Appetite:
    """The frequency with which models use their tools."""

    seed: int
    """The seed of the draws; it gives the same draws for the same request."""
    uses: int | None = None
    """Uses of each tool, within its limits; None: by a draw."""


def perform(
    order: Order,
    request: ParsedRequest,
    resolved: ResolvedModel,
    catalogue: SandboxCatalogue,
    *,
    appetite: Appetite,
    now_s: float,
) -> ExtraUse:
    """Return the simulated use of everything that is ordered, the same for the same seed.

    Args:
        order: what the request orders.
        request: decides the draws, and may hold PDFs to be read.
        resolved: the model that answers.
        catalogue: has the models that tools call.
        appetite: how often tools are used.
        now_s: Unix time, for the prices.
    """
    has_documents = any(block.document is not None for block in request.blocks)
    if order.is_empty and not has_documents:
        return ExtraUse()
    question = (appetite.seed, request.question, request.turn)
    digest = hashlib.sha256(repr(question).encode()).digest()
    performer = _Performer(order, request, resolved, catalogue, digest, appetite.uses, now_s)
    return performer.perform()


@dataclass(slots=True)
class _Performer:
    order: Order
    request: ParsedRequest
    resolved: ResolvedModel
    catalogue: SandboxCatalogue
    digest: bytes
    uses: int | None
    now_s: float
    use: ExtraUse = field(default_factory=ExtraUse)
    contents: list[int] = field(default_factory=list[int])
    """Tokens that each tool call adds to the prompt."""
    _draws: int = 0

    def perform(self) -> ExtraUse:
        self._read_documents()
        native_usd = self.resolved.model.prices.web_search
        for one in self._list_searches(native_usd):
            self._search(one, native_usd)
        if self.request.tool_choice != "none":
            for fetch in self.order.fetches:
                self._fetch(fetch, native_usd)
            for order in self.order.models:
                self._ask_models(order)
            for _ in range(min(self.order.other_tools, self._steps_left())):
                self.contents.append(CALL_TOKENS)
        self._count_rounds()
        return self.use

    def _list_searches(self, native_usd: Decimal | None) -> Iterator[SearchOrder]:
        """Yield the searches; a native search tool replaces the native plugin ("Web Search")."""
        is_native = native_usd is not None
        tools = [one for one in self.order.searches if not one.is_plugin]
        has_native_tool = is_native and any(one.engine in ("auto", "native") for one in tools)
        for one in self.order.searches:
            is_doubled = one.is_plugin and has_native_tool and one.engine in ("auto", "native")
            if not is_doubled and (one.is_plugin or self.request.tool_choice != "none"):
                yield one

    def _steps_left(self) -> int:
        return max(0, self.order.max_steps - len(self.contents))

    def _draw(self, most: int) -> int:
        """Return how often a tool is used: 1 to 3 times, or as configured; never above `most`."""
        self._draws += 1
        drawn = 1 + self.digest[self._draws % len(self.digest)] % _MAX_BY_DRAW
        return min(most, drawn if self.uses is None else self.uses)

    def _read_documents(self) -> None:
        """Read PDFs that the model cannot or shall not read itself ("PDF Inputs", Pricing)."""
        engine, model = self.order.pdf_engine, self.resolved.model
        if engine in (None, "native"):
            engine = "native" if model.can_read("file") else "mistral-ocr"
        if engine == "native":
            return
        known = read_hashes(self.request.body)
        blocks = self.request.blocks
        documents = {one.document.hash: one.document for one in blocks if one.document is not None}
        read = [one for hash_, one in documents.items() if hash_ not in known]
        self.use.documents = tuple(read)
        pages = sum(one.pages for one in read)
        if engine == "mistral-ocr" and pages:
            usd = pages * OCR_PAGE_USD
            self._add(Extra(kind="pdf", name=engine, count=pages, usd=usd, is_first=True))

    def _add(self, extra: Extra) -> None:
        if extra.count:
            self.use.items.append(extra)

    def _search(self, order: SearchOrder, native_usd: Decimal | None) -> None:
        fee = search_engine(order.engine, order.mode, order.max_results, native_usd)
        if fee.is_native:
            self._search_natively(order, fee)
            return
        most = 1 if order.is_plugin else self._most_searches(order)
        count = 1 if order.is_plugin else self._draw(most)
        results = min(count * order.max_results, order.max_total_results)
        tokens = results * order.tokens_per_result
        if order.is_plugin:
            self.use.prompt_tokens += tokens
        else:
            self.contents += _spread(tokens, count)
        self._add(
            Extra(
                kind="web_search",
                name=fee.engine,
                count=count,
                usd=count * fee.usd,
                is_first=order.is_plugin,
                results=results,
            )
        )

    def _most_searches(self, order: SearchOrder) -> int:
        by_results = -(-order.max_total_results // order.max_results)
        return min(order.max_uses or self.order.max_steps, by_results, self._steps_left())

    def _search_natively(self, order: SearchOrder, fee: EngineFee) -> None:
        """Search at the provider; only Anthropic obeys `max_uses`, xAI searches X too (docs)."""
        author = self.resolved.model.author
        most = self.order.max_steps
        if author == "anthropic":
            most = min(most, order.max_uses or most)
        count = 1 if order.is_plugin else self._draw(most)
        count *= 2 if author == "x-ai" else 1
        self.use.prompt_tokens += count * native_search_tokens(author)
        usd = count * fee.usd
        kind = "built_in_search" if author == "perplexity" else "web_search"
        self._add(Extra(kind=kind, name=fee.engine, count=count, usd=usd, is_native=True))

    def _fetch(self, order: FetchOrder, native_usd: Decimal | None) -> None:
        fee = fetch_engine(order.engine, native_usd)
        count = self._draw(min(order.max_uses or self.order.max_steps, self._steps_left()))
        tokens = min(TOKENS_PER_FETCH, order.max_content_tokens or TOKENS_PER_FETCH)
        self.contents += [tokens] * count
        usd = count * fee.usd
        self._add(Extra(kind="web_fetch", name=fee.engine, count=count, usd=usd))

    def _ask_models(self, order: ModelOrder) -> None:
        count = self._draw(min(order.max_uses or self.order.max_steps, self._steps_left()))
        for _ in range(count):
            brought = 0
            for name in order.models:
                try:
                    resolved = self.resolved if name is None else self.catalogue.resolve(name)
                except ApiError:
                    continue  # the tool reports its failure, and the reply continues
                brought += self._ask_model(order, resolved.model)
            self.contents.append(brought)

    def _ask_model(self, order: ModelOrder, model: Model) -> int:
        """Call one model; return the tokens of its answer."""
        prompt = self.request.prompt_tokens if order.with_transcript else 0
        prompt += _SHORT_PROMPT_TOKENS
        image = image_tokens(model.author) if order.kind == "image_generation" else 0
        limit = min(order.max_tokens or model.max_completion_tokens, model.max_completion_tokens)
        drawn = 200 + 2 * self.digest[self._draws % len(self.digest)]
        text = limit if self.uses is not None and not image else min(limit, drawn)
        searches = self._draw(order.max_searches) if order.max_searches else 0
        fee = search_engine("auto", None, 5, model.prices.web_search)
        tokens = BilledTokens(
            prompt=prompt * (searches + 1),
            window=prompt,
            completion=text + image,
            image_out=image,
        )
        usd = model.prices.charge(tokens, self.now_s).total + searches * fee.usd
        self._add(Extra(kind=order.kind, name=model.id, count=1, usd=usd))
        return CALL_TOKENS if image else text

    def _count_rounds(self) -> None:
        """Add the tokens of all rounds: each call's result is sent with all that came before."""
        first = self.request.prompt_tokens + self.use.prompt_tokens
        sent = first
        for content in self.contents:
            sent += content
            self.use.prompt_tokens += sent
        self.use.completion_tokens = CALL_TOKENS * len(self.contents)
        self.use.tool_calls = len(self.contents)
        self.use.window = sent


def _spread(total: int, count: int) -> Iterable[int]:
    """Split a total into integer parts."""
    return [(total * (place + 1)) // count - (total * place) // count for place in range(count)]
