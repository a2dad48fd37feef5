"""What is booked of a call that says nothing of its cost, and how it is settled after all.

The gateway is the running server; what it books is read from `devflow ledger export`, and settled
by `devflow ledger reconcile`. The measure is what the stand-in for OpenRouter has billed.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from devflow_cli.testing import run_command
from devflow_sandbox.books.billing_book import BilledCall
from devflow_sandbox.threaded import ThreadedSandbox
from integration.served import Served, environment, serve
from integration.upstream_door import ask as small_request
from integration.upstream_door import open_door, streamed

STOPPING = "anthropic/claude-haiku-4.5"
"""Its provider stops charging when nobody reads on."""
CHARGING_ON = "google/gemini-2.5-flash"
WIRES = ("openai_chat", "anthropic_messages", "openai_responses")
QUESTION = "Explain in some detail how a write-ahead log makes a commit durable. " * 6
PATIENCE_S = 1.5


@dataclass(frozen=True, kw_only=True)
class Place:
    """A running gateway, and the stand-in behind it."""

    served: Served
    sandbox: ThreadedSandbox

    @property
    def calls(self) -> list[BilledCall]:
        """What the stand-in has been asked, in order."""
        return self.sandbox.state.billing.calls

    def set_fault(self, then: dict[str, Any] | None, billed: str = "provider") -> None:
        when = {"method": "POST"}
        faults = [{"when": when, "then": then, "billed": billed}] if then else []
        self.sandbox.set_faults({"faults": faults})

    def ask(self, wire: str, *, stream: bool, model: str = STOPPING, **more: Any) -> None:
        """One request to its end, whatever that is."""
        headers = more.pop("headers", None)
        path, body = request_of(wire, stream=stream, model=model, **more)
        self.served.ask("POST", path, body, headers, key=self.served.first_key)
        self.wait_until_ended()

    def wait_until_ended(self) -> None:
        while any(one.outcome == "running" for one in self.calls):
            time.sleep(0.01)

    def devflow(self, *arguments: str, **more: str) -> Any:
        """What another command over the same ledger prints as JSON."""
        home = self.served.home
        seen = environment(
            home,
            OPENROUTER_BASE_URL=self.sandbox.base_url,
            OPENROUTER_API_KEY=self.sandbox.api_key,
            **more,
        )
        done = run_command(*arguments, "--json", folder=home, environment=seen)
        assert done.status == 0, done.err
        return done.document

    def attempts(self) -> list[dict[str, Any]]:
        """Every attempt in the ledger, in order."""
        entries = self.devflow("ledger", "export")["entries"]
        return [one for entry in entries for one in entry["attempts"]]

    def last_attempt(self) -> dict[str, Any]:
        """The attempt of the last request; it is written within moments of its end."""
        while len(attempts := self.attempts()) < len(self.calls):
            time.sleep(0.01)
        return attempts[-1]

    def reconcile(self, patience_s: float = PATIENCE_S) -> dict[str, Any]:
        return self.devflow("ledger", "reconcile", f"--patience-s={patience_s}")

    def metrics(self) -> str:
        return self.served.ask("GET", "/metrics", key=self.served.first_key).body.decode()


@contextmanager
def open_place(home: Path, **sandbox: Any) -> Generator[Place]:
    with ExitStack() as stack:
        stand_in = stack.enter_context(ThreadedSandbox(generation_delay_s=0.1, **sandbox))
        served = stack.enter_context(
            serve(
                home,
                OPENROUTER_BASE_URL=stand_in.base_url,
                OPENROUTER_API_KEY=stand_in.api_key,
                OPENROUTER_MAX_RETRIES="1",
            )
        )
        yield Place(served=served, sandbox=stand_in)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One for all tests that leave it as it was: with another request at its end."""
    with open_place(tmp_path_factory.mktemp("home")) as one:
        yield one


def request_of(wire: str, *, stream: bool, **more: Any) -> tuple[str, dict[str, Any]]:
    path, body = small_request(wire, stream=stream, **more)
    if wire == "openai_responses":
        return path, body | {"input": QUESTION}
    return path, body | {"messages": [{"role": "user", "content": QUESTION}]}


def usd(attempt: dict[str, Any], field: str = "cost_usd") -> Decimal:
    return Decimal(attempt[field])


def check_known(attempt: dict[str, Any], call: BilledCall) -> None:
    """An estimate between the bill and what was held, with the input counted."""
    assert attempt["cost_status"] == "estimated"
    assert call.cost_usd <= usd(attempt) <= usd(attempt, "reserved_usd")
    assert attempt["usage"]["input_tokens"] >= call.tokens.prompt
    assert attempt["is_usage_estimated"] is True


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("wire", WIRES)
def test_a_cut_reply_costs_what_went_in_and_what_came(
    place: Place, wire: str, *, stream: bool
) -> None:
    place.set_fault({"kind": "truncate", "at": {"share": 0.6}})
    place.ask(wire, stream=stream)
    attempt = place.last_attempt()
    assert attempt["usage"]["output_tokens"] > 0
    check_known(attempt, place.calls[-1])


@pytest.mark.parametrize("wire", WIRES)
def test_a_reply_that_its_reader_leaves_costs_what_went_in_and_what_came(
    place: Place, wire: str
) -> None:
    place.set_fault({"kind": "slow", "gap_s": 0.02})
    path, body = request_of(wire, stream=True, model=STOPPING)
    received = leave_after(place.served, path, body, pieces=8)
    place.wait_until_ended()
    attempt, call = place.last_attempt(), place.calls[-1]
    assert call.outcome == "cancelled"
    assert call.generation is not None
    prices = call.generation.resolved.model.prices
    assert attempt["outcome"] == "cancelled"
    assert attempt["usage"]["input_tokens"] >= call.tokens.prompt
    known_usd = call.tokens.prompt * prices.prompt + received // 4 * prices.completion
    assert known_usd <= usd(attempt) <= usd(attempt, "reserved_usd")


@pytest.mark.parametrize("preset", ["choices_null", "choices_empty"])
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_a_reply_without_choices_costs_what_it_says(
    place: Place, preset: str, *, stream: bool
) -> None:
    place.set_fault({"kind": "body", "preset": preset})
    place.ask("openai_chat", stream=stream)
    attempt = place.last_attempt()
    assert attempt["outcome"] == "failed"
    assert (attempt["cost_status"], usd(attempt)) == ("settled", place.calls[-1].cost_usd)


@pytest.mark.parametrize("wire", WIRES)
def test_a_whole_reply_without_usage_costs_its_text_and_not_what_was_held(
    place: Place, wire: str
) -> None:
    parts = ["usage", "generation_id"]
    place.set_fault({"kind": "omit", "parts": parts})
    limit = {"max_tokens": 30_000} if wire == "anthropic_messages" else {}
    place.ask(wire, stream=False, model=CHARGING_ON, **limit)
    attempt = place.last_attempt()
    check_known(attempt, place.calls[-1])
    assert usd(attempt) < usd(attempt, "reserved_usd") / 2


@pytest.mark.parametrize("has_end", [True, False], ids=["whole", "cut"])
async def test_counts_that_were_told_too_early_are_not_the_cost(
    tmp_path: Path, *, has_end: bool
) -> None:
    def chunk(delta: dict[str, Any], **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": more.pop("finish", None)}
        body = {"id": "gen-1", "model": "openai/gpt-5-mini", "provider": "OpenAI"}
        return b"data: %b\n\n" % orjson.dumps({**body, "choices": [choice], **more})

    early = {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8}
    pieces = [chunk({"content": "One", "role": "assistant"}, usage=early)]
    pieces += [chunk({"content": " more word"}) for _ in range(200)]
    pieces += [chunk({"content": ""}, finish="stop"), b"data: [DONE]\n\n"] if has_end else []
    async with open_door(tmp_path, streamed(*pieces), max_retries=1) as door:
        await door.send("openai_chat", stream=True)
        store = door.settings.data_dir / "ledger.db"
        done = run_command(
            "ledger",
            "export",
            folder=tmp_path,
            environment=environment(tmp_path, DEVFLOW_DATA_DIR=str(store.parent)),
        )
    (attempt,) = json.loads(done.out)["attempts"]
    # 400 tokens or so, at 0.000002 USD each, on top of seven that went in
    assert attempt["usage"]["output_tokens"] >= 400
    assert Decimal("0.0008") <= usd(attempt) <= usd(attempt, "reserved_usd")


# told, and cannot be


def doubts_in(metrics: str, kind: str) -> float:
    lines = [line for line in metrics.splitlines() if f'cost_doubts_total{{kind="{kind}"}}' in line]
    return float(lines[0].rpartition(" ")[2]) if lines else 0.0


@pytest.mark.parametrize(
    ("told", "doubt"), [("0", "zero"), ("NaN", "no_amount"), ("-5", "no_amount")]
)
@pytest.mark.parametrize("wire", WIRES)
def test_a_cost_that_cannot_be_is_not_believed_and_is_told(
    place: Place, wire: str, told: str, doubt: str
) -> None:
    before = doubts_in(place.metrics(), doubt)
    place.set_fault({"kind": "usage", "values": {"cost": told}})
    place.ask(wire, stream=True)
    attempt, call = place.last_attempt(), place.calls[-1]
    assert (attempt["cost_status"], attempt["cost_doubt"]) == ("estimated", doubt)
    assert usd(attempt) == call.cost_usd > 0
    assert doubts_in(place.metrics(), doubt) == before + 1


@pytest.mark.parametrize("billed", ["none", "provider"])
def test_a_cost_in_doubt_is_asked_for_and_stays_marked(tmp_path: Path, billed: str) -> None:
    with open_place(tmp_path) as place:
        place.set_fault({"kind": "usage", "values": {"cost": "0"}}, billed)
        place.ask("openai_chat", stream=True)
        result = place.reconcile()
        attempt, call = place.last_attempt(), place.calls[-1]
        assert (attempt["cost_status"], attempt["cost_source"]) == ("settled", "generation")
        assert usd(attempt) == call.cost_usd
        assert (call.cost_usd == 0) == (billed == "none")
        assert attempt["cost_doubt"] == "zero"
        assert [one["doubt"] for one in result["doubts"]] == ["zero"]
        assert place.devflow("report")["total"]["cost_doubts"] == 1


def test_more_than_was_held_is_booked_in_full_and_announced(tmp_path: Path) -> None:
    with open_place(tmp_path) as place:
        place.set_fault({"kind": "usage", "values": {"cost": "3"}})
        place.ask("openai_chat", stream=True, max_tokens=100)
        attempt = place.last_attempt()
        assert attempt["cost_doubt"] == "above_reserve"
        assert usd(attempt) == 3 > usd(attempt, "reserved_usd")
        assert doubts_in(place.metrics(), "above_reserve") == 1
        place.reconcile()
        attempt = place.last_attempt()
        assert usd(attempt) == place.calls[-1].cost_usd
        assert (attempt["cost_status"], attempt["cost_doubt"]) == ("settled", "above_reserve")


# settled by evidence


@pytest.mark.parametrize(
    "fault",
    [{"kind": "drop"}, *({"kind": "body", "preset": one} for one in ("html", "malformed"))],
    ids=["nothing", "a page of HTML", "a cut body"],
)
def test_a_call_without_an_id_is_settled_by_what_was_billed_beyond_the_others(
    tmp_path: Path, fault: dict[str, Any]
) -> None:
    with open_place(tmp_path) as place:
        place.devflow("budget", "set", "--scope", "global", "--window", "day", "--limit", "5")
        place.ask("openai_chat", stream=True)
        place.set_fault(fault, "full")
        place.ask("openai_chat", stream=True)
        lost = place.last_attempt()
        assert usd(lost) == usd(lost, "reserved_usd")
        assert lost["generation_id"] is None
        result = place.reconcile()
        settled = place.last_attempt()
        assert (result["difference_usd"], result["pending"]) == ("0", 0)
        assert usd(settled) == place.calls[-1].cost_usd < usd(lost)
        assert settled["cost_status"] == "settled"
        assert settled["cost_source"].startswith("total of ")
        # the budget has got the difference back
        (budget,) = place.devflow("budget", "list")["budgets"]
        assert Decimal(budget["spent_usd"]) == sum(one.cost_usd for one in place.calls)


def test_a_total_that_lags_is_waited_for(tmp_path: Path) -> None:
    with open_place(tmp_path, totals_delay_s=4.0) as place:
        place.set_fault({"kind": "drop"}, "full")
        place.ask("openai_chat", stream=True)
        place.set_fault(None)
        time.sleep(4.0)  # so that the total holds the first call and lacks the second
        place.ask("openai_chat", stream=True, max_tokens=100)
        result = place.reconcile(patience_s=5.0)
        assert (result["difference_usd"], result["pending"]) == ("0", 0)
        lost = next(one for one in place.attempts() if one["generation_id"] is None)
        assert usd(lost) == place.calls[0].cost_usd


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_where_nobody_can_be_asked_what_was_seen_stands_and_says_so(
    tmp_path: Path, *, stream: bool
) -> None:
    with open_place(tmp_path, accept_any_key=True) as place:
        own = {"X-OpenRouter-Key": f"sk-or-v1-{7:064x}"}
        place.set_fault({"kind": "truncate", "at": {"share": 0.5}})
        place.ask("openai_chat", stream=stream, model=CHARGING_ON, headers=own)
        held = place.last_attempt()
        assert usd(held) == usd(held, "reserved_usd")
        assert place.reconcile()["observed"] == 1
        attempt = place.last_attempt()
        assert (attempt["cost_status"], attempt["cost_source"]) == ("observed", "observed")
        assert 0 < usd(attempt) < usd(held)
        total = place.devflow("report")["total"]
        assert Decimal(total["estimated_usd"]) == usd(attempt)  # nobody has confirmed it


def leave_after(served: Served, path: str, body: dict[str, Any], *, pieces: int) -> int:
    """Read so many pieces of text and close; how many characters had come."""
    raw = json.dumps(body).encode()
    received = b""
    with served.connect() as one:
        headers = {"Authorization": f"Bearer {served.first_key}"}
        one.sendall(served.head("POST", path, headers, len(raw)) + raw)
        one.settimeout(60)
        while len(texts := _texts(received)) < pieces:
            piece = one.recv(4096)
            assert piece, received
            received += piece
        one.shutdown(socket.SHUT_RDWR)
    return sum(map(len, texts))


def _texts(received: bytes) -> list[str]:
    """The pieces of answer in a stream so far, in any dialect."""
    found: list[str] = []
    for line in received.split(b"\n"):
        data = line.strip().removeprefix(b"data: ")
        if not (data.startswith(b"{") and data.endswith(b"}")):
            continue
        event: dict[str, Any] = orjson.loads(data)
        choices: list[dict[str, Any]] = event.get("choices") or []
        deltas: list[dict[str, Any]] = [one.get("delta") or {} for one in choices]
        found.extend(one.get("content") or "" for one in deltas)
        delta: Any = event.get("delta")
        if event.get("type") == "response.output_text.delta":
            found.append(delta)
        elif event.get("type") == "content_block_delta":
            found.append(delta.get("text") or "")
    return [one for one in found if one]
