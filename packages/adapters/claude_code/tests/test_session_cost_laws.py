"""The cost of any transcript is the sum over its replies, and complete if each has a price."""

import json
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from devflow_claude_code import ClaudeCodeSession, count_once
from devflow_core.usage import Price, PriceTier
from hypothesis import given
from hypothesis import strategies as st

USD = Decimal("0.000001")
FLAT = Price(
    prompt=3 * USD,
    completion=15 * USD,
    cache_read=USD / 2,
    cache_write=4 * USD,
    cache_write_1h=6 * USD,
)
TIERED = Price(
    prompt=2 * USD,
    completion=8 * USD,
    tiers=(PriceTier(min_prompt_tokens=1000, prompt=5 * USD, completion=20 * USD),),
)
PRICES = {"claude-a": FLAT, "claude-a-fast": TIERED, "claude-t": TIERED, "other": FLAT}


@dataclass(frozen=True)
class Tokens:
    """One call of a model."""

    fresh: int
    read: int
    write: int
    hour: int
    out: int

    @property
    def fields(self) -> dict[str, Any]:
        return {
            "input_tokens": self.fresh,
            "cache_read_input_tokens": self.read,
            "cache_creation_input_tokens": self.write + self.hour,
            "cache_creation": {
                "ephemeral_5m_input_tokens": self.write,
                "ephemeral_1h_input_tokens": self.hour,
            },
            "output_tokens": self.out,
        }

    def usd(self, model: str) -> Decimal | None:
        """Worked out here once more, from the words of the price list."""
        if model in ("claude-a", "other"):
            cached = self.read * USD / 2 + self.write * 4 * USD + self.hour * 6 * USD
            return self.fresh * 3 * USD + self.out * 15 * USD + cached
        if model in ("claude-t", "claude-a-fast"):
            prompt = self.fresh + self.read + self.write + self.hour
            is_long = prompt > 1000
            return (prompt * (5 if is_long else 2) + self.out * (20 if is_long else 8)) * USD
        return None

    @property
    def is_nothing(self) -> bool:
        return not (self.fresh or self.read or self.write or self.hour or self.out)


COUNTS = st.sampled_from([0, 1, 7, 600, 1500])
TOKENS = st.builds(Tokens, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)
MODELS = st.sampled_from(["claude-a", "claude-t", "other", "unheard", None, "<synthetic>"])


@dataclass(frozen=True)
class Reply:
    """A reply, in how many rows it stands, and who took part."""

    model: str | None
    own: tuple[Tokens, ...]
    """Of the model itself: one call, or several."""
    advice: tuple[tuple[str, Tokens], ...] = ()
    compaction: Tokens | None = None
    is_fast: bool = False
    searches: int = 0
    is_impossible: bool = False
    rows: int = 1
    number: int = field(default=0, compare=False)

    @property
    def usage(self) -> dict[str, Any]:
        parts = [{"type": "message", **one.fields} for one in self.own]
        if self.compaction:
            parts.insert(0, {"type": "compaction", **self.compaction.fields})
        parts += [
            {"type": "advisor_message", "model": name, **one.fields} for name, one in self.advice
        ]
        # beside the iterations stand the first call's input and the output of all own calls
        total = {**self.own[0].fields, "output_tokens": sum(one.out for one in self.own)}
        if len(parts) > 1:
            total["iterations"] = parts
        if self.is_fast:
            total["speed"] = "fast"
        if self.searches:
            total["server_tool_use"] = {"web_search_requests": self.searches}
        if self.is_impossible:
            total["output_tokens"] = -1
        return total

    def parts(self) -> list[Decimal | None]:
        """What is billed, each part by itself; None without a price."""
        if self.is_impossible:
            return [None]
        name = f"{self.model}-fast" if self.is_fast else str(self.model)
        calls = [(name, one) for one in self.own]
        calls += [(name, self.compaction)] if self.compaction else []
        calls += self.advice
        parts = [Decimal(0) if one.is_nothing else one.usd(at) for at, one in calls]
        if self.searches:
            is_claude = (self.model or "").startswith("claude")
            parts.append(self.searches * Decimal("0.01") if is_claude else None)
        return parts


REPLIES = st.lists(
    st.builds(
        Reply,
        model=MODELS,
        own=st.lists(TOKENS, min_size=1, max_size=3).map(tuple),
        advice=st.lists(
            st.tuples(st.sampled_from(["other", "claude-t", "unheard"]), TOKENS), max_size=2
        ).map(tuple),
        compaction=st.none() | TOKENS,
        is_fast=st.booleans(),
        searches=st.sampled_from([0, 0, 0, 2]),
        is_impossible=st.sampled_from([False] * 9 + [True]),
        rows=st.integers(1, 3),
    ),
    max_size=6,
)


def write(path: Path, session: str, replies: list[Reply], *, has_request_ids: bool) -> None:
    rows: list[dict[str, Any]] = []

    def add(kind: str, key: str, **fields: Any) -> None:
        rows.append(
            {
                "type": kind,
                "uuid": key,
                "parentUuid": rows[-1]["uuid"] if rows else None,
                "sessionId": session,
                "version": "2.1.329",
                "timestamp": f"2026-11-01T10:00:{len(rows) % 60:02d}.000Z",
                **fields,
            }
        )

    for at, reply in enumerate(replies):
        add("user", f"user-{at}", message={"role": "user", "content": "go"})
        for row in range(reply.rows):
            message = {
                "id": f"msg_{at}" if has_request_ids else "msg_local",
                "model": reply.model,
                "role": "assistant",
                "content": [{"type": "text", "text": "ok"}],
                "usage": reply.usage,
            }
            request = {"requestId": f"req_{at}"} if has_request_ids else {}
            add("assistant", f"assistant-{at}-{row}", message=message, **request)
    add("user", "user-last", message={"role": "user", "content": "bye"})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.laws(3_000)
@given(REPLIES, st.booleans(), st.integers(0, 6))
def test_the_cost_is_the_sum_of_the_replies_and_complete_if_each_has_a_price(
    tmp_path_factory: pytest.TempPathFactory,
    replies: list[Reply],
    has_request_ids: bool,
    copied: int,
) -> None:
    folder = tmp_path_factory.getbasetemp() / "laws"
    folder.mkdir(exist_ok=True)
    ids = [f"11111111-2222-4333-8444-00000000000{number}" for number in (1, 2)]
    for name, some in zip(ids, (replies, replies[:copied]), strict=True):
        write(folder / f"{name}.jsonl", name, some, has_request_ids=has_request_ids)
    sessions = [ClaudeCodeSession.open(folder / f"{name}.jsonl") for name in ids]

    parts = [part for reply in replies for part in reply.parts()]
    cost = sessions[0].spend.cost(PRICES.get)
    assert cost.usd == sum((part for part in parts if part is not None), Decimal(0))
    assert cost.is_complete == (None not in parts)
    assert sum(one.replies for one in cost.missing) >= (None in parts)

    counted = [one.own.cost(PRICES.get) for one in count_once(sessions)]
    assert sum((one.usd for one in counted), Decimal(0)) == cost.usd
    assert all(one.is_complete for one in counted) == cost.is_complete
