"""Every kind of fault of the stand-in, through the whole stack, against the stand-in's own bill."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from devflow_openrouter.testing import GatewayHarness, RequestOutcome, ScriptedUpstream
from devflow_sandbox import Sandbox

MODEL = "anthropic/claude-haiku-4.5"

COMPLETE: list[dict[str, Any]] = [
    {"kind": "omit", "parts": ["done"]},
    {"kind": "omit", "parts": ["last_newline"]},
    {"kind": "omit", "parts": ["usage"]},
    {"kind": "omit", "parts": ["cost"]},
    {"kind": "omit", "parts": ["generation_id"]},
    {"kind": "slow", "head_s": 0.1, "ttft_s": 0.1, "gap_s": 0.002},
    *({"kind": "usage", "values": {"prompt_tokens": bad}} for bad in ("NaN", "-5", "1e308")),
    {"kind": "usage", "values": {"cost": "-1"}},
]
"""Faults that leave a reply whole, or only its figures wrong."""

BROKEN: list[dict[str, Any]] = [
    {"kind": "drop"},
    {"kind": "drop", "how": "close"},
    {"kind": "drop", "at": {"share": 0.5}},
    {"kind": "drop", "at": {"share": 0.5}, "how": "close"},
    {"kind": "omit", "parts": ["finish", "usage", "done"]},
    *({"kind": "truncate", "framing": how} for how in ("chunked", "close", "length", "gzip")),
    *({"kind": "error_event", "form": how} for how in ("chunk", "no_finish", "string_code")),
    {"kind": "error_event", "form": "bare", "at": {"event": 0}},
    *({"kind": "body", "preset": what} for what in ("malformed", "html", "empty", "choices_null")),
    {"kind": "flood", "what": "line"},
    {"kind": "flood", "what": "header", "size": 200_000},
    {"kind": "flood", "what": "headers", "size": 5_000},
    *({"kind": "raw", "preset": what}
      for what in ("cl_te", "bad_chunk", "header_injection", "status_999", "ssh_banner")),
    *({"kind": "status", "status": status} for status in (400, 403, 404, 408, 422, 500, 503, 529)),
    {"kind": "redirect"},
    {"kind": "stall", "comment_every_s": 0.05},
    {"kind": "slow", "dribble_s": 0.2},
    {"kind": "endless", "gap_s": 0.05},
]  # fmt: skip


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(seed=11) as running:
        yield running


@pytest.fixture
def harness(sandbox: Sandbox) -> GatewayHarness:
    return GatewayHarness(ScriptedUpstream())


async def ask_with(
    harness: GatewayHarness, sandbox: Sandbox, then: dict[str, Any]
) -> RequestOutcome:
    sandbox.set_faults({"faults": [{"id": "f", "when": {"path": "/chat/*"}, "then": then}]})
    is_awaited = then["kind"] in ("stall", "endless") or "dribble_s" in then
    short: dict[str, Any] = {
        "first_token_timeout_s": 0.5,
        "idle_timeout_s": 0.4,
        "total_timeout_s": 1.5,
    }
    outcome = await harness(
        MODEL,
        base_url=sandbox.base_url,
        api_key=sandbox.api_key,
        max_retries=2,
        retry_wait_factor=0.1,
        **(short if is_awaited else {}),  # only where a deadline is what ends it
    )
    assert sandbox.api_key not in repr(outcome)
    return outcome


def name(then: dict[str, Any]) -> str:
    return "-".join(str(value) for value in then.values())


@pytest.mark.parametrize("then", COMPLETE, ids=name)
async def test_a_whole_reply_is_complete_whatever_its_figures(
    harness: GatewayHarness, sandbox: Sandbox, then: dict[str, Any]
) -> None:
    outcome = await ask_with(harness, sandbox, then)
    assert outcome.text
    assert outcome.attempt.cost_usd > 0
    for count in (outcome.attempt.usage.input_tokens, outcome.attempt.usage.output_tokens):
        assert 0 <= count < 10_000


@pytest.mark.parametrize("then", BROKEN, ids=name)
async def test_a_broken_reply_is_an_error_and_books_no_less_than_the_bill(
    harness: GatewayHarness, sandbox: Sandbox, then: dict[str, Any]
) -> None:
    outcome = await ask_with(harness, sandbox, then)
    assert outcome.text is None
    assert outcome.error is not None
    assert outcome.entry.outcome == "failed"
    assert outcome.entry.cost_usd >= Decimal(str(sandbox.bill()["total_usd"]))
    assert 1 <= len(outcome.entry.attempts) <= 2


FORMS = [
    "bytewise", "split_crlf", "crlf", "cr_only", "bom", "no_space", "multi_line", "comments",
    "line_separator", "bad_utf8", "after_done", "event_names", "ids_and_retry",
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
async def test_the_same_events_in_another_dress_are_the_same_reply(
    harness: GatewayHarness, sandbox: Sandbox, form: str
) -> None:
    outcome = await ask_with(harness, sandbox, {"kind": "framing", "form": form})
    assert outcome.text
    assert outcome.attempt.cost_status == "settled"
    assert outcome.attempt.cost_text == str(sandbox.bill()["calls"][0]["cost_usd"])


async def test_without_a_fault_the_cost_is_the_bill_to_the_last_digit(
    harness: GatewayHarness, sandbox: Sandbox
) -> None:
    sandbox.set_faults(None)
    outcome = await harness(MODEL, base_url=sandbox.base_url, api_key=sandbox.api_key)
    bill = sandbox.bill()
    assert outcome.attempt.cost_text == str(bill["calls"][0]["cost_usd"])
    assert outcome.attempt.generation_id == bill["calls"][0]["generation_id"]
