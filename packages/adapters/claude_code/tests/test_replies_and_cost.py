"""What a reply is billed for, and which rows are one reply."""

import json
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from devflow_claude_code import ClaudeCodeSession, count_once, find_related, render_status_line
from devflow_claude_code.testing import TranscriptScript
from devflow_core.usage import KnownCost, Price, PriceTier

OPUS, FAST, BATCH, ADVISOR, LONG = (
    "claude-opus-4-8",
    "claude-opus-4-8-fast",
    "claude-opus-4-8:batch",
    "claude-opus-5",
    "claude-sonnet-4-5",
)
USD = Decimal("0.000001")
PRICES = {
    OPUS: Price(prompt=5 * USD, completion=25 * USD, cache_read=USD / 2, cache_write=6 * USD),
    FAST: Price(prompt=10 * USD, completion=50 * USD),
    BATCH: Price(prompt=USD, completion=2 * USD),
    ADVISOR: Price(prompt=7 * USD, completion=11 * USD),
    LONG: Price(
        prompt=3 * USD,
        completion=15 * USD,
        tiers=(PriceTier(min_prompt_tokens=200_000, prompt=6 * USD, completion=22 * USD),),
    ),
}
IMPOSSIBLE: tuple[Any, ...] = (-1, 1.5, 10**10, 10**18, "9" * 40, "many", "NaN", True, [3], {})
Write = Callable[[Iterable[object]], Path]


def cost_of(write: Write, *replies: dict[str, Any], model: str | None = OPUS) -> KnownCost:
    """The cost of a session with these usage objects."""
    script = TranscriptScript()
    for usage in replies:
        script.prompt("go")
        script.say("ok", usage=usage, model=model)
    return ClaudeCodeSession.open(write(script.rows)).spend.cost(PRICES.get)


def reasons(cost: KnownCost) -> list[str]:
    return [str(one) for one in cost.missing]


@pytest.mark.parametrize(
    ("fields", "usd"),
    [
        ({}, 75),
        ({"speed": "standard", "service_tier": "standard", "inference_geo": ""}, 75),
        ({"speed": None, "service_tier": None, "inference_geo": None, "iterations": None}, 75),
        ({"speed": "fast"}, 150),
        ({"service_tier": "batch"}, 12),
        ({"inference_geo": "global"}, 75),
        ({"inference_geo": "not_available"}, 75),
        ({"inference_geo": "us"}, Decimal("82.5")),
        ({"inference_geo": "us", "speed": "fast"}, 165),
        ({"server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 9}}, 30_075),
        ({"server_tool_use": {"tool_search_requests": 3}}, 75),
        ({"input_tokens": 10.0, "output_tokens": "1"}, 75),
        ({"cache_read_input_tokens": "100"}, 125),
    ],
)
def test_every_billed_part_of_a_reply_is_priced(
    write: Write, fields: dict[str, Any], usd: Decimal
) -> None:
    """In millionths of a dollar; ten tokens in and one out."""
    cost = cost_of(write, {"input_tokens": 10, "output_tokens": 1, **fields})
    assert cost == KnownCost(usd=usd * USD)


@pytest.mark.parametrize(
    ("fields", "usd", "reason"),
    [
        ({"speed": "ludicrous"}, 0, "1 reply of claude-opus-4-8-ludicrous"),
        ({"service_tier": "priority"}, 0, "1 reply of claude-opus-4-8:priority"),
        ({"inference_geo": "eu"}, 75, "1 reply made in 'eu', whose surcharge is unknown"),
        (
            {"server_tool_use": {"code_execution_requests": 2}},
            75,
            "1 reply with calls of code execution, whose price is unknown",
        ),
        *(
            ({"input_tokens": count}, 0, "1 reply with impossible token counts")
            for count in IMPOSSIBLE
        ),
        ({"cache_read_input_tokens": -5}, 0, "1 reply with impossible token counts"),
        (
            {"iterations": [{"type": "message", "output_tokens": -7}]},
            0,
            "1 reply with impossible token counts",
        ),
    ],
)
def test_parts_without_a_price_are_reported(
    write: Write, fields: dict[str, Any], usd: int, reason: str
) -> None:
    plain = {"input_tokens": 10, "output_tokens": 1}
    cost = cost_of(write, plain, {**plain, **fields})
    assert cost.usd == (75 + usd) * USD
    assert reasons(cost) == [reason]
    assert str(cost).startswith("≥ $0.00")


@pytest.mark.parametrize("model", ["deepseek/deepseek-v3.2", "glm-4.6"])
def test_searches_of_other_makers_have_no_known_price(write: Write, model: str) -> None:
    usage = {"input_tokens": 0, "output_tokens": 0, "server_tool_use": {"web_search_requests": 2}}
    assert reasons(cost_of(write, usage, model=model)) == [
        "1 reply with web searches, whose price is only known for Claude models"
    ]


def test_replies_without_tokens_miss_nothing_even_where_the_model_is_unknown(write: Write) -> None:
    nothing = {"input_tokens": 0, "output_tokens": 0}
    for model in (None, "<synthetic>", "nobody/knows"):
        assert cost_of(write, nothing, model=model) == KnownCost()


def test_equal_reasons_are_reported_once_with_a_count(write: Write) -> None:
    usage = {"input_tokens": 1, "output_tokens": 1}
    assert str(cost_of(write, usage, usage, model=None)) == (
        "≥ $0.00 (2 replies of an unknown model)"
    )


def test_each_iteration_is_priced_by_itself(write: Write) -> None:
    """Two prompts of 150,000 tokens are no long prompt; one of 250,000 is."""
    call = {"type": "message", "input_tokens": 150_000, "output_tokens": 10}
    usage = {"input_tokens": 150_000, "output_tokens": 20, "iterations": [call, call]}
    assert cost_of(write, usage, model=LONG).usd == (2 * 150_000 * 3 + 20 * 15) * USD
    alone = {"input_tokens": 250_000, "output_tokens": 20}
    assert cost_of(write, alone, model=LONG).usd == (250_000 * 6 + 20 * 22) * USD


def test_an_advisor_and_a_compaction_come_on_top(write: Write) -> None:
    advice: dict[str, Any] = {"type": "advisor_message", "input_tokens": 30, "output_tokens": 2}
    own = [
        {"type": "compaction", "input_tokens": 1000, "output_tokens": 100},
        {"type": "message", "input_tokens": 10, "output_tokens": 1},
    ]
    usage = {"input_tokens": 10, "output_tokens": 1, "speed": "fast"}
    expected = (1000 * 10 + 100 * 50) + (10 * 10 + 50) + (30 * 7 + 2 * 11)
    known = {**usage, "iterations": [*own, {**advice, "model": ADVISOR}]}
    assert cost_of(write, known).usd == expected * USD
    cost = cost_of(write, {**usage, "iterations": [*own, {**advice, "model": "nobody/knows"}]})
    assert cost.usd == (15_000 + 150) * USD
    assert reasons(cost) == ["1 reply of nobody/knows"]


def test_counts_that_the_iterations_leave_out_are_taken_from_beside_them(write: Write) -> None:
    usage = {
        "input_tokens": 10,
        "output_tokens": 1,
        "cache_read_input_tokens": 100,
        "iterations": [{"type": "message", "input_tokens": 10, "output_tokens": 1}],
    }
    assert cost_of(write, usage).usd == 125 * USD


def test_tokens_are_listed_under_the_model_that_billed_them(write: Write) -> None:
    script = TranscriptScript()
    call = {"type": "advisor_message", "model": ADVISOR, "input_tokens": 3, "output_tokens": 4}
    usage = {"input_tokens": 1, "output_tokens": 2, "speed": "fast", "iterations": [call]}
    script.say("ok", usage=usage, model=OPUS)
    counts = ClaudeCodeSession.open(write(script.rows)).spend.by_model()
    assert {name: (one.input, one.output) for name, one in counts.items()} == {
        FAST: (1, 2),
        ADVISOR: (3, 4),
    }


class Proxy:
    """Writes a session whose replies all have one message id, and no request ids."""

    def __init__(self) -> None:
        self.script = TranscriptScript()

    def reply(self, prompt_tokens: int, *blocks: str) -> None:
        usage = {"input_tokens": prompt_tokens, "output_tokens": 0}
        for block in blocks:
            self.script.say(block, usage=usage, model=OPUS, id="msg_local")

    def answer_tool(self) -> None:
        result = {"type": "tool_result", "tool_use_id": "t", "content": "done"}
        self.script.add("user", message={"role": "user", "content": [result]})


def test_replies_with_one_message_id_are_told_apart(write: Write) -> None:
    proxy = Proxy()
    proxy.script.prompt("one")
    proxy.reply(10, "thinking", "text")
    proxy.answer_tool()
    proxy.reply(10, "the same reply, written on after its tool's result")
    proxy.answer_tool()
    proxy.reply(20, "another")
    proxy.script.prompt("two")
    proxy.reply(20, "a third, as long")
    proxy.script.add("user", isMeta=True, message={"role": "user", "content": "a reminder"})
    proxy.reply(20, "still the third")
    spend = ClaudeCodeSession.open(write(proxy.script.rows)).spend
    assert [one.tokens.input for one in spend.responses] == [10, 20, 20]


def test_repeated_rows_are_not_new_replies(write: Write) -> None:
    proxy = Proxy()
    for _ in range(2):
        proxy.script.prompt("go")
        proxy.reply(10, "text")
    rows = proxy.script.rows
    spend = ClaudeCodeSession.open(write([*rows, *rows])).spend
    assert len(spend.responses) == 2


def test_one_request_id_names_a_reply_also_in_rows_that_lack_it(write: Write) -> None:
    """1.0 leaves it out where it copies rows."""
    script = TranscriptScript()
    script.prompt("go")
    usage = {"input_tokens": 10, "output_tokens": 0}
    script.say("one", usage=usage, model=OPUS, id="msg_a")["requestId"] = "req_1"
    script.prompt("go on")
    script.say("one", usage=usage, model=OPUS, id="msg_a")
    assert len(ClaudeCodeSession.open(write(script.rows)).spend.responses) == 1


def test_a_fork_with_new_row_ids_is_still_a_copy(tmp_path: Path) -> None:
    """The client says of which row: `forkedFrom`."""
    proxy = Proxy()
    proxy.script.prompt("go")
    proxy.reply(10, "text")
    ids = [f"11111111-2222-4333-8444-00000000000{number}" for number in range(3)]
    for number, name in enumerate(ids):
        rows = [dict(row, sessionId=name) for row in proxy.script.rows]
        for row in rows if number else []:
            row["forkedFrom"] = {"sessionId": ids[0], "messageUuid": row["uuid"]}
            row["uuid"] = f"{number}{row['uuid'][1:]}"
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(text)
    original, *forks = (ClaudeCodeSession.open(tmp_path / f"{name}.jsonl") for name in ids)
    counted = count_once([forks[0], original, forks[1]])
    assert [len(one.own.responses) for one in counted] == [0, 1, 0]
    assert counted[0].copied_from == (ids[0],)
    assert {one.session_id for one in find_related(forks[0])} == {ids[0], ids[2]}
    assert len(count_once(forks)[0].own.responses) == 1


def test_the_status_line_says_at_least(write: Write) -> None:
    script = TranscriptScript()
    script.say("ok", usage={"input_tokens": 100_000, "output_tokens": 0}, model=OPUS)
    event = {"transcript_path": str(write(script.rows))}
    assert "· $0.50" in render_status_line(json.dumps(event).encode(), price_of=PRICES.get)
    script.say("ok", usage={"input_tokens": 5, "output_tokens": 0}, model=None)
    write(script.rows)
    assert "· ≥ $0.50" in render_status_line(json.dumps(event).encode(), price_of=PRICES.get)
