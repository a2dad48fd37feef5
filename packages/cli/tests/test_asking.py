"""`ask`, `explain` and `handoff`: what a person gets, and what stays behind."""

import asyncio
import io
import os
from decimal import Decimal
from pathlib import Path

import pytest
from devflow_cli.testing import Devflow
from devflow_core.settings import Settings
from devflow_gateway import open_gateway
from devflow_sandbox import Sandbox

PROMPT = "Why does test_login fail with a KeyError? Mend the Python code."


def test_a_reply_is_on_stdout_and_what_it_took_on_stderr(online: Devflow) -> None:
    done = online("ask", PROMPT)
    assert done.status == 0
    assert "test_login" in done.out
    for word in ("Task     coding", "Model  ", "Tokens  ", "Cost  ", "Entry    req_"):
        assert word in done.err


def test_the_document_has_what_programs_hold_on_to(
    online: Devflow, openrouter_sandbox: Sandbox
) -> None:
    shown = online("ask", PROMPT, "--json", "--model", "anthropic/claude-haiku-4.5").document
    assert shown["model"] == "anthropic/claude-haiku-4.5"
    assert shown["finish_reason"] == "stop"
    assert set(shown["usage"]) == {
        "input_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "output_tokens",
        "reasoning_tokens",
    }
    assert shown["route"]["task"]["type"] == "coding"
    (billed,) = openrouter_sandbox.bill()["calls"]
    assert billed["generation_id"] == shown["generation_id"]
    assert Decimal(billed["cost_usd"]) == Decimal(shown["cost_usd"])


def test_the_prompt_may_come_on_stdin(online: Devflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(PROMPT))
    assert "test_login" in online("ask", "-", "--no-stream").out


def test_nothing_to_ask_is_a_usage_error(online: Devflow) -> None:
    assert online("ask", "  ").status == 2


def test_no_key_says_what_is_read(devflow: Devflow) -> None:
    done = devflow("ask", PROMPT)
    assert done.status == 3
    assert done.err.count("\n") == 1
    assert "OPENROUTER_API_KEY" in done.err
    assert "devflow demo" in done.err


def test_an_unknown_model_names_close_ones(online: Devflow) -> None:
    done = online("ask", PROMPT, "--model", "openai/gpt-4o-minis", "--json")
    assert done.status == 1
    assert done.document["error"]["code"] == "model_not_found"
    assert "openai/gpt-4o-mini" in done.err


def test_a_claude_to_come_is_answered_by_the_newest_of_its_family(
    online: Devflow, transcript: Path
) -> None:
    done = online("ask", PROMPT, "--model", "claude-haiku-9", "--json")
    assert (done.status, done.document["model"]) == (0, "anthropic/claude-haiku-4.5")
    assert done.document["route"]["candidates"][0]["stands_in_for"] == "claude-haiku-9"
    shown = online("ask", PROMPT, "--model", "claude-haiku-9")
    assert "anthropic/claude-haiku-4.5: named by the caller as claude-haiku-9" in shown.err
    handed = online("handoff", str(transcript), "--to", "claude-haiku-9", "--prompt", "Go on.")
    assert handed.status == 0


def test_a_session_is_handed_to_an_alias(
    online: Devflow, transcript: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "DEVFLOW_ALIASES", '{"my": "anthropic/claude-haiku-4.5", "any": "auto:cheap"}'
    )
    done = online("handoff", str(transcript), "--to", "my", "--json")
    assert (done.status, done.document["model"]) == (0, "anthropic/claude-haiku-4.5")
    assert done.document["handoff"]["window_tokens"] == 200_000
    assert online("handoff", str(transcript), "--to", "any").status == 0


def test_a_failing_upstream_is_status_5(online: Devflow, openrouter_sandbox: Sandbox) -> None:
    then = {"kind": "status", "status": 400, "error_type": "invalid_request"}
    openrouter_sandbox.set_faults({"faults": [{"then": then}]})
    assert online("ask", PROMPT, "--model", "openai/gpt-4o-mini").status == 5


@pytest.mark.parametrize("cost", ["much", "-"])
def test_an_amount_that_is_none_is_a_usage_error(online: Devflow, cost: str) -> None:
    assert online("ask", PROMPT, "--max-cost", cost).status == 2


def test_too_little_money_is_refused_before_anyone_is_asked(
    online: Devflow, openrouter_sandbox: Sandbox
) -> None:
    done = online(
        "ask", PROMPT, "--max-cost", "0.000000001", "--model", "anthropic/claude-opus-4.1"
    )
    assert done.status == 4
    assert openrouter_sandbox.bill()["calls"] == []


def test_a_route_is_explained_before_and_after(online: Devflow) -> None:
    before = online("explain", PROMPT, "--json=full", "--cost-priority", "0.9").document
    chosen = [one for one in before["candidates"] if one["chosen"]]
    assert len(chosen) == 1
    assert any(one["excluded"] for one in before["candidates"])
    entry_id = online("ask", PROMPT, "--cost-priority", "0.9", "--json").document["entry_id"]
    after = online("explain", entry_id, "--json").document
    assert [one["model"] for one in after["candidates"] if one["chosen"]] == [chosen[0]["model"]]
    assert "Left out" in online("explain", PROMPT).out


def test_an_entry_of_embeddings_says_why_it_has_no_decision(online: Devflow) -> None:
    async def embed() -> str:
        async with open_gateway(Settings.load(dict(os.environ))) as gateway:
            return (await gateway.embed("x", model="openai/text-embedding-3-small")).entry.entry_id

    done = online("explain", asyncio.run(embed()))
    assert done.status == 1
    assert "openai/text-embedding-3-small" in done.err
    assert "embeddings" in done.err
    assert "None" not in done.err


def test_explaining_an_unknown_entry_fails(online: Devflow) -> None:
    assert online("explain", "req_nothing").status == 1
    assert online("explain").status == 2


@pytest.mark.parametrize(
    "body",
    [
        '{"model":"auto","messages":[{"role":"user","content":"Prove it."}]}',
        '{"model":"auto","max_tokens":9,"system":"x","messages":[{"role":"user","content":"Hi"}]}',
        '{"model":"auto","input":"Prove it."}',
    ],
)
def test_a_request_file_in_any_dialect_is_explained(online: Devflow, home: Path, body: str) -> None:
    file = home / "request.json"
    file.write_text(body)
    assert online("explain", "--request", str(file), "--json").document["candidates"]


def test_a_request_file_that_cannot_be_read(online: Devflow, home: Path) -> None:
    done = online("explain", "--request", str(home / "none.json"))
    assert (done.status, "cannot be read" in done.err) == (2, True)


def test_json_is_lean_and_full_on_request(online: Devflow) -> None:
    lean = online("ask", "hi", "--json")
    assert len(lean.out.encode()) < 4000
    route = lean.document["route"]
    assert [one["chosen"] for one in route["candidates"]][:2] == [True, False]
    assert set(route["candidates"][0]) >= {"model", "chosen", "score", "terms", "excluded"}
    assert set(route["task"]) >= {"type", "complexity", "confidence", "reasons"}
    assert set(route["snapshot"]) >= {"catalogue", "prices", "performance"}
    full = online("ask", "hi", "--json=full").document
    assert set(lean.document) == set(full)
    left_out = len(full["route"]["candidates"]) - len(route["candidates"])
    assert route["left_out"] == left_out > 100
    assert "features" in full["route"]
    shown = online("explain", "hi", "--json=lean").document
    assert all(one["excluded"] is None for one in shown["candidates"])
    assert len(online("explain", "hi", "--json=full").document["candidates"]) > 100


def test_a_piece_of_context_is_named_and_its_text_is_in_the_full_form(
    online: Devflow, transcript: Path
) -> None:
    lean = online("ask", PROMPT, "--session", str(transcript), "--json").document["context"]
    assert lean["pieces"]
    assert all(set(one) == {"kind", "tokens", "source"} for one in lean["pieces"])
    full = online("ask", PROMPT, "--session", str(transcript), "--json=full").document["context"]
    assert all(one["text"] for one in full["pieces"])
    assert full["tokens"] == lean["tokens"]


def test_a_form_of_json_that_is_none_is_a_usage_error(online: Devflow) -> None:
    done = online("budget", "list", "--json=all")
    assert (done.status, "none of full, lean" in done.err) == (2, True)
    done = online("report", "--columns", "cost", "--json")
    assert (done.status, "--columns" in done.err) == (2, True)
    asked = online("ask", "--json", "--", "--json=full").document
    assert asked["text"]


def test_a_session_goes_on_at_another_model(online: Devflow, transcript: Path) -> None:
    before = transcript.read_bytes()
    done = online("handoff", str(transcript), "--json", "--to", "deepseek/deepseek-v3.2")
    assert done.status == 0
    assert done.document["model"] == "deepseek/deepseek-v3.2"
    assert done.document["text"]
    assert transcript.read_bytes() == before


def test_a_session_comes_home_as_a_new_file(online: Devflow, transcript: Path, home: Path) -> None:
    shown = online("handoff", str(transcript), "--write-back", "--json").document
    resume = shown["resume"]
    assert Path(resume["path"]).is_relative_to(home)
    assert (
        resume["command"].startswith("claude --resume ") or "claude --resume" in resume["command"]
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read"), (b"", "empty"), (b"not a transcript\n", "transcript")],
)
def test_a_session_that_is_none(
    online: Devflow, home: Path, content: bytes | None, message: str
) -> None:
    file = home / "broken.jsonl"
    if content is not None:
        file.write_bytes(content)
    done = online("handoff", str(file))
    assert done.status == 1
    assert "broken.jsonl" in done.err
    assert message in done.err
    assert "Traceback" not in done.err
    assert list(home.glob("**/ledger.db")) == []
