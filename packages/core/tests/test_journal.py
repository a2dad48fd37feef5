"""The journal books what a call cost, as far as that is known, however the call ended."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from devflow_core.errors import (
    Incomplete,
    NotSent,
    ProviderUnavailable,
    UpstreamError,
    UpstreamRejected,
)
from devflow_core.events import (
    Finished,
    Opaque,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
)
from devflow_core.ids import new_id
from devflow_core.journal import Journal
from devflow_core.ledger import Attempt
from devflow_core.masking import KNOWN_SECRETS
from devflow_core.ports import Call
from devflow_core.testing import (
    FakeClock,
    MemoryBook,
    a_candidate,
    a_journal,
    a_request,
    a_usage,
)
from devflow_core.usage import Usage


async def attempt_of(journal: Journal, *events: object, **candidate: Any) -> Attempt:
    call = Call(request=a_request(), candidate=a_candidate(**candidate), journal=journal)
    attempt = await journal.begin(call)
    for event in events:
        attempt.observe(event)  # type: ignore[arg-type]
    attempt.end(None)
    return journal.ended[-1]


async def test_a_reply_without_cost_is_priced_from_its_tokens() -> None:
    attempt = await attempt_of(
        a_journal(), Started(), Finished(finish_reason="stop", usage=a_usage())
    )
    assert attempt.cost_status == "estimated"
    assert attempt.cost_usd == Decimal("0.0002")
    assert attempt.price_version == "test-1"


async def test_a_reply_without_cost_and_price_is_booked_at_its_reservation() -> None:
    attempt = await attempt_of(
        a_journal(), Started(), Finished(finish_reason="stop", usage=a_usage()), price=None
    )
    assert attempt.cost_usd == Decimal("0.01")
    assert attempt.price_version is None


async def test_a_cancelled_call_costs_input_and_what_was_seen_where_billing_stops() -> None:
    journal = a_journal(bills_on_cancel=False)
    attempt = await attempt_of(
        journal,
        Started(provider="Anthropic"),
        ReasoningDelta(text="x" * 36),
        TextDelta(text="x" * 36),
        ToolCallDelta(index=0, arguments="x" * 36),
        Opaque(kind="ping"),
        input_tokens=700,
    )
    # 0.01 reserved: 1 000 output tokens are 0.005 of it, the input the other half
    assert attempt.cost_usd == Decimal("0.005") + (15 + 30) * Decimal("0.000005")
    assert attempt.observed_usd == attempt.cost_usd
    assert attempt.usage == Usage(input_tokens=700, reasoning_tokens=15, output_tokens=30)
    assert attempt.is_usage_estimated


async def test_an_unknown_share_of_the_input_gives_no_better_estimate() -> None:
    journal = a_journal(bills_on_cancel=False)
    attempt = await attempt_of(journal, Started(), max_output_tokens=None)
    assert attempt.cost_usd == attempt.reserved_usd


@pytest.mark.parametrize("bills_on", [True, False])
async def test_a_call_that_nothing_was_held_for_costs_what_was_seen(bills_on: bool) -> None:
    attempt = await attempt_of(
        a_journal(bills_on_cancel=bills_on),
        Started(),
        TextDelta(text="word " * 20),
        worst_case_usd=None,
        input_tokens=700,
    )
    # at the price of writing the prompt cache, since nobody said whether it was
    assert attempt.cost_usd == 700 * Decimal("0.00000125") + 41 * Decimal("0.000005")


async def test_times_are_measured_from_sending() -> None:
    clock = FakeClock()
    journal = a_journal(clock=clock)
    clock.advance(1.0)
    attempt = await journal.begin(
        Call(request=a_request(), candidate=a_candidate(), journal=journal)
    )
    clock.advance(0.5)
    attempt.observe(Started())
    clock.advance(0.25)
    attempt.end(Incomplete("cut"))
    (ended,) = journal.ended
    assert (ended.ttft_s, ended.total_s) == (0.5, 0.75)
    assert journal.remaining_s() == 600.0 - 1.75


async def test_the_end_of_an_attempt_is_written_with_the_next() -> None:
    class Watching(MemoryBook):
        async def begin(self, start: object, /, *, ended: tuple[Attempt, ...] = ()) -> None:
            seen.append(len(ended))
            await super().begin(start, ended=ended)  # type: ignore[arg-type]

    seen: list[int] = []
    book = Watching()
    journal = a_journal(book=book)
    for _ in range(3):
        await attempt_of(journal, Started())
    assert seen == [0, 1, 1]
    entry = await journal.close("failed", error=KeyError("x"))
    assert entry.error_code == "KeyError"
    assert [attempt.number for attempt in entry.attempts] == [1, 2, 3]
    assert book.open_attempts == ()


async def test_the_model_that_served_is_that_of_the_latest_call() -> None:
    journal = a_journal()
    call = Call(request=a_request(), candidate=a_candidate("acme/one"), journal=journal)
    first = await journal.begin(call)
    first.observe(Started(model="acme/one"))
    assert journal.served == "acme/one"
    first.end(NotSent("broke off"))
    await journal.begin(replace(call, candidate=a_candidate("acme/two")))
    assert journal.served is None


async def test_a_journal_without_a_route_still_closes() -> None:
    journal = Journal(a_request(), book=MemoryBook(), deadline_s=1.0)
    await journal.begin(Call(request=a_request(), candidate=a_candidate(), journal=journal))
    entry = await journal.close("cancelled")
    assert (entry.task_type, entry.complexity) == ("", "")


def test_ids_sort_by_time_and_never_repeat() -> None:
    ids = [new_id("req") for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert [one[:16] for one in ids] == sorted(one[:16] for one in ids)
    assert all(len(one) == 36 for one in ids)


@pytest.mark.parametrize("key", ["claude-haiku-4.5-of-anyone", "anthropic/claude-haiku-4.5"])
async def test_a_key_that_reads_like_a_model_takes_no_model_its_name(key: str) -> None:
    journal, model = a_journal(), f"anthropic/{key}"
    with KNOWN_SECRETS.using(key, model):  # of another caller, in flight meanwhile
        attempt = await attempt_of(journal, Started(model=model), model=model)
        assert attempt.model == model
        # what is on no list may be a key itself
        assert model not in (await attempt_of(journal, model=model, price=None)).model


@pytest.mark.parametrize(
    ("error", "booked"),
    [
        (ProviderUnavailable("down", status=502), ("estimated", Decimal("0.02"))),
        (NotSent("no byte left"), ("void", Decimal(0))),
        (UpstreamRejected("wrong", status=400), ("void", Decimal(0))),
    ],
    ids=["failed behind a search", "not sent", "refused before"],
)
async def test_what_runs_before_the_model_is_booked_although_it_fails(
    error: UpstreamError, booked: tuple[str, Decimal]
) -> None:
    journal, fee = a_journal(), Decimal("0.02")
    candidate = a_candidate(first_fees_usd=fee, has_fees=True)
    attempt = await journal.begin(Call(request=a_request(), candidate=candidate, journal=journal))
    attempt.end(error)
    (ended,) = journal.ended
    assert (ended.cost_status, ended.cost_usd) == booked
