"""Scores of models come with the list where a key is set, and their absence stops nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from devflow_core import ChatRequest
from devflow_core.settings import Settings
from devflow_gateway import wiring
from devflow_openrouter.models.evidence import EVIDENCE_FILE, LOOPBACK_EVIDENCE_FILE
from devflow_routing import live_evidence
from devflow_sandbox import Sandbox
from integration.doors import Installation

Eventually = Callable[[Callable[[], object]], Awaitable[None]]
ASKED = ChatRequest.from_text("Prove that there are infinitely many primes.")


@pytest.fixture
def user(tmp_path: Path, openrouter_sandbox: Sandbox) -> Installation:
    """Somebody with a key."""
    made = Installation(home=tmp_path / "home", folder=tmp_path / "home" / "work")
    made.environment["OPENROUTER_API_KEY"] = openrouter_sandbox.api_key
    made.environment["OPENROUTER_BASE_URL"] = openrouter_sandbox.base_url
    return made


def settings_of(folder: Path, base_url: str, key: str) -> Settings:
    return Settings.load(
        {}, base_url=base_url, api_key=key, require_key=False, data_dir=folder, cache=False
    )


def told(user: Installation, *arguments: str) -> Any:
    done = user.run(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_refresh_saves_invented_scores_apart_and_every_view_says_so(user: Installation) -> None:
    before = told(user, "models", "list")["scores"]
    assert before["fetched_at"] is None
    assert before["count"] > 500
    scores = told(user, "models", "refresh")["scores"]
    assert scores["count"] > before["count"] + 500
    assert scores["is_invented"]
    assert (user.data_dir / LOOPBACK_EVIDENCE_FILE).stat().st_mode & 0o077 == 0
    assert not (user.data_dir / EVIDENCE_FILE).exists()
    assert told(user, "models", "list")["scores"]["version"] == scores["version"]
    assert "invented by the stand-in" in user.run("models", "list").stdout
    assert "invented by the stand-in" in user.run("doctor").stdout
    shown = user.run("models", "show", "minimax/minimax-m2.5").stdout
    assert "(invented by a stand-in, " in shown
    assert "(Vectara, Mar 2026)" in shown
    chosen = told(user, "explain", "Prove that there are infinitely many primes.")
    assert chosen["snapshot"]["quality"] == scores["version"]


@pytest.mark.parametrize(("key", "reason"), [("", "none is set"), ("sk-or-v1-wrong", "401")])
def test_a_missing_or_refused_key_is_told_and_the_list_is_renewed(
    user: Installation, key: str, reason: str
) -> None:
    user.environment["OPENROUTER_API_KEY"] = key
    done = user.run("models", "refresh")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(reason) == 1
    assert (user.data_dir / "models.loopback.json").exists()
    assert not (user.data_dir / LOOPBACK_EVIDENCE_FILE).exists()


def test_a_failing_endpoint_keeps_the_scores_and_renews_the_list(
    user: Installation, openrouter_sandbox: Sandbox
) -> None:
    before = told(user, "models", "refresh")["scores"]
    for status in (429, 500):
        fault = {"when": {"path": "/benchmarks"}, "then": {"kind": "status", "status": status}}
        openrouter_sandbox.set_faults({"faults": [fault]})
        after = told(user, "models", "refresh")["scores"]
        assert after["version"] == before["version"]
        assert after["error"]


def test_a_damaged_file_is_named_and_the_shipped_scores_are_used(user: Installation) -> None:
    version = told(user, "models", "list")["scores"]["version"]
    path = user.data_dir / LOOPBACK_EVIDENCE_FILE
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_bytes(b"nonsense \xff")
    path.chmod(0o600)
    done = user.run("explain", "hello")
    assert done.returncode == 0, done.stderr
    assert told(user, "models", "list")["scores"]["version"] == version
    assert LOOPBACK_EVIDENCE_FILE in user.run("doctor").stdout
    assert told(user, "models", "refresh")["scores"]["error"] is None


def test_real_and_invented_scores_never_meet(tmp_path: Path) -> None:
    document = {
        "fetched_at": datetime.now(UTC).isoformat(),
        "is_invented": False,
        "scores": [["openai/gpt-5", "aa-coding", 60.0, "", "high", "GPT-5 (high)"]],
    }
    for name in (EVIDENCE_FILE, LOOPBACK_EVIDENCE_FILE):
        path = tmp_path / name
        path.write_text(json.dumps({**document, "is_invented": name == LOOPBACK_EVIDENCE_FILE}))
        path.chmod(0o600)
    stand_in = wiring.open_catalogue(settings_of(tmp_path, "http://127.0.0.1:9/api/v1", "sk-or-a"))
    real = wiring.open_catalogue(settings_of(tmp_path, "https://openrouter.ai/api/v1", "sk-or-a"))
    assert stand_in.evidence.current.is_invented
    assert real.evidence.current.is_fetched
    assert not real.evidence.current.is_invented


async def test_a_running_gateway_follows_new_scores_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_evidence, "POLL_INTERVAL_S", 0.05)
    async with Sandbox() as sandbox:
        settings = settings_of(tmp_path, sandbox.base_url, sandbox.api_key)
        async with (
            wiring.open_gateway(settings) as one,
            wiring.open_gateway(settings) as other,
        ):
            before = other.explain(ASKED)
            await one.refresh_catalogue()
            after = one.explain(ASKED)
            assert after.snapshot["quality"] != before.snapshot["quality"]
            assert await other.catalogue.evidence.reload()
            assert other.explain(ASKED).snapshot["quality"] == after.snapshot["quality"]
            fresh = {one.model: one.terms for one in after.candidates}
            former = {one.model: one.terms for one in before.candidates}
            assert any(fresh[name] != former[name] for name in fresh.keys() & former.keys())


async def test_a_server_fetches_scores_by_itself(tmp_path: Path, eventually: Eventually) -> None:
    async with Sandbox() as sandbox:
        settings = settings_of(tmp_path, sandbox.base_url, sandbox.api_key)
        async with wiring.open_gateway(settings) as gateway:
            job = asyncio.create_task(gateway.keep_evidence_fresh(lambda error: None))
            await eventually((tmp_path / LOOPBACK_EVIDENCE_FILE).exists)
            assert gateway.catalogue.evidence.current.is_invented
            job.cancel()
            await asyncio.wait([job])
