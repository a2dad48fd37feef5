"""Costs count every call once, whether a transcript, the ledger, or both hold it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

from devflow_claude_code import (
    CostItem,
    SessionDigest,
    find_blocks,
    group_costs,
    price_sessions,
    total_of,
)
from devflow_claude_code.reading.rows import RowReader, TranscriptRow
from devflow_claude_code.reading.usage import TranscriptTokens
from devflow_core.attribution import Attribution
from devflow_core.ledger import Attempt, LedgerEntry
from devflow_core.usage import Price, Usage

SESSION = "11111111-2222-4333-8444-555555555555"
OTHER = "99999999-2222-4333-8444-555555555555"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
USD = Decimal("0.000001")
PRICE = Price(prompt=USD, completion=2 * USD)


def price_of(model: str) -> Price | None:
    return PRICE if model.startswith("claude") else None


def reply(number: int, at: datetime = NOON, model: str = "claude-a") -> TranscriptRow:
    """Ten tokens in and ten out: 30 USD for a million of them."""
    row = RowReader().make_placeholder(number, 0, 0, "assistant")
    return row._replace(
        uuid=f"u{number}",
        timestamp=at.isoformat(),
        message_id=f"msg_{number}",
        request_id=f"req_{number}",
        model=model,
        tokens=TranscriptTokens(10, 0, 0, 0, 10),
        branch="main",
        agent="main",
    )


def session(*rows: TranscriptRow, name: str = SESSION, folder: str = "/p") -> SessionDigest:
    return SessionDigest(
        path=Path(f"/claude/{name}.jsonl"),
        session_id=name,
        project=folder,
        title=None,
        client_version=None,
        started_at=None,
        last_at=None,
        messages=1,
        rows=rows,
    )


def entry(entry_id: str, generation: str, *costs: str, session_id: str = SESSION) -> LedgerEntry:
    attempts = tuple(
        Attempt(
            attempt_id=f"{entry_id}-{number}",
            number=number,
            model="z-ai/glm-5",
            started_at=NOON,
            outcome="succeeded",
            cost_status="settled",
            cost_usd=Decimal(cost),
            usage=Usage(input_tokens=7, output_tokens=3),
            generation_id=generation,
        )
        for number, cost in enumerate(costs, 1)
    )
    return LedgerEntry(
        entry_id=entry_id,
        started_at=NOON,
        requested_model="claude-a",
        outcome="succeeded",
        attempts=attempts,
        task_type="coding",
        complexity="simple",
        attribution=Attribution(session_id=session_id, project="/p", agent="main"),
    )


def usd(items: list[CostItem]) -> Decimal:
    return total_of(items).total.cost.usd


def test_a_booked_reply_counts_once_and_as_it_was_booked() -> None:
    digests = [session(reply(1), reply(2))]
    assert usd(price_sessions(digests, price_of)) == 60 * USD
    # by the entry's id, which clients record as the request's; with all attempts
    by_request = price_sessions(digests, price_of, [entry("req_1", "gen_x", "0.1", "0.2")])
    assert (len(by_request), usd(by_request)) == (2, 30 * USD + Decimal("0.3"))
    # by the provider's id, for clients that record none of ours
    by_message = price_sessions(digests, price_of, [entry("req_x", "msg_2", "0.5")])
    assert (len(by_message), usd(by_message)) == (2, 30 * USD + Decimal("0.5"))
    group = total_of(by_message)
    assert group.booked_usd == Decimal("0.5")
    assert set(group.models) == {"claude-a", "z-ai/glm-5"}


def test_one_entry_stands_for_one_reply() -> None:
    same = [reply(1), reply(2)._replace(message_id="msg_1")]
    found = price_sessions([session(*same)], price_of, [entry("req_x", "msg_1", "1")])
    assert usd(found) == 1 + 30 * USD


def test_what_only_the_ledger_knows_of_a_session_is_added() -> None:
    """Titles and compactions leave no row in a transcript."""
    entries = [entry("req_t", "gen_t", "0.01"), entry("req_o", "gen_o", "5", session_id=OTHER)]
    found = price_sessions([session(reply(1))], price_of, entries)
    assert usd(found) == 30 * USD + Decimal("0.01")
    assert [item.is_booked for item in found if item.cost.usd == Decimal("0.01")] == [True]


def test_a_copied_reply_counts_in_one_session() -> None:
    copy = reply(1)._replace(forked_from=(SESSION, "u1"))
    digests = [session(copy, reply(2), name=OTHER), session(reply(1))]
    groups = group_costs(price_sessions(digests, price_of), "session", zone=UTC)
    assert {group.key: group.replies for group in groups} == {SESSION: 1, OTHER: 1}


def test_groups_by_every_view() -> None:
    evening = datetime(2026, 11, 21, 23, 30, tzinfo=UTC)
    rows = [
        reply(1),
        reply(2, evening, "unheard")._replace(agent="a1b2", branch="fix"),
        reply(3, datetime(2026, 12, 1, tzinfo=UTC)),
    ]
    items = price_sessions([session(*rows), session(reply(4), folder="/q", name=OTHER)], price_of)

    def keys(view: str, zone: str = "UTC", **options: str) -> dict[str, int]:
        groups = group_costs(items, view, zone=ZoneInfo(zone), **options)  # type: ignore[arg-type]
        return {group.key: group.replies for group in groups}

    assert keys("daily") == {"2026-11-21": 3, "2026-12-01": 1}
    assert keys("daily", "Asia/Tokyo") == {"2026-11-21": 2, "2026-11-22": 1, "2026-12-01": 1}
    assert keys("weekly") == {"2026-11-15": 3, "2026-11-29": 1}
    assert keys("weekly", week_begins="monday") == {"2026-11-16": 3, "2026-11-30": 1}
    assert keys("monthly") == {"2026-11": 3, "2026-12": 1}
    assert keys("model") == {"claude-a": 3, "unheard": 1}
    assert keys("project") == {"/p": 3, "/q": 1}
    assert keys("branch") == {"main": 3, "fix": 1}
    assert keys("agent") == {"main": 3, "a1b2": 1}
    (unpriced,) = [one for one in group_costs(items, "model") if one.key == "unheard"]
    assert str(unpriced.total.cost) == "≥ $0.00 (1 reply of unheard)"


def at(*minutes: float) -> list[CostItem]:
    rows = [reply(int(one * 10), NOON + timedelta(minutes=one)) for one in minutes]
    return price_sessions([session(*rows)], price_of)


def test_a_block_lasts_five_hours_from_its_full_hour() -> None:
    # the last one comes 5 h 1 min after 12:00, though less than 5 h after the first
    blocks = find_blocks(at(20, 100, 301), NOON + timedelta(days=1))
    assert [(f"{one.starts_at:%H:%M}", one.group.replies) for one in blocks] == [
        ("12:00", 2),
        ("17:00", 1),
    ]
    assert not any(one.is_active or one.is_gap for one in blocks)


def test_a_pause_of_more_than_five_hours_is_a_gap() -> None:
    blocks = find_blocks(at(10, 10 + 7 * 60), NOON + timedelta(days=1))
    assert [one.is_gap for one in blocks] == [False, True, False]
    assert (f"{blocks[1].starts_at:%H:%M}", f"{blocks[1].ends_at:%H:%M}") == ("17:10", "19:10")
    assert blocks[1].group.replies == 0


def test_the_block_in_progress_has_a_rate_and_an_end() -> None:
    (block,) = find_blocks(at(0, 30, 60), NOON + timedelta(minutes=90))
    assert block.is_active
    assert block.burn_rate is not None
    assert block.projection is not None
    assert block.burn_rate.tokens_per_min == 1
    assert block.burn_rate.usd_per_hour == 90 * USD
    # 60 tokens so far, and one a minute for the 210 minutes that are left
    assert (block.projection.remaining_min, block.projection.tokens) == (210, 270)
    assert block.projection.usd == (90 + 90 * Decimal("3.5")) * USD
    assert find_blocks(at(0), NOON)[0].burn_rate is None  # one reply has no rate


def test_a_reply_that_lacks_two_prices_is_one_reply() -> None:
    row = reply(1, model="unheard")
    (item,) = price_sessions([session(row)], price_of)
    twice = replace(item, parts=(*item.parts, *item.parts))
    assert [one.replies for one in total_of([twice]).total.cost.missing] == [1]
