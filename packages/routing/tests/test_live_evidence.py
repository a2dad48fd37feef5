"""The live evidence: renewed daily, saved, shared, and never a reason to stop."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from devflow_core.errors import ConfigurationError, DevFlowError, KeyRefused
from devflow_core.messages import JsonObject
from devflow_core.testing import FakeClock
from devflow_routing import FetchedFile
from devflow_routing.evidence.scores import Evidence, Score, load_shipped_evidence
from devflow_routing.live_evidence import LiveEvidence

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def document(value: float = 50.0, fetched_at: datetime = NOW) -> JsonObject:
    return {"value": value, "fetched_at": fetched_at.isoformat()}


def decode(body: JsonObject) -> Evidence:
    return load_shipped_evidence().with_fetched(
        [Score(model="openai/gpt-5", benchmark="index", value=float(body["value"]))],
        [],
        fetched_at=datetime.fromisoformat(body["fetched_at"]),
    )


def make(path: Path | None = None, clock: Callable[[], datetime] = lambda: NOW) -> LiveEvidence:
    return LiveEvidence(decode, file=FetchedFile(path) if path else None, clock=clock)


class Provider:
    """Answers with a document or an error, and counts."""

    def __init__(self, *answers: JsonObject | DevFlowError) -> None:
        self.answers = list(answers)
        self.calls = 0

    async def __call__(self) -> JsonObject:
        self.calls += 1
        answer = self.answers[min(self.calls, len(self.answers)) - 1]
        if isinstance(answer, DevFlowError):
            raise answer
        return answer


async def test_what_was_fetched_is_told_saved_and_there_after_a_restart(tmp_path: Path) -> None:
    evidence = make(tmp_path / "evidence.json")
    assert evidence.age_s is None
    told: list[Evidence] = []
    evidence.subscribe(told.append)
    found = await evidence.refresh(Provider(document()))
    assert told == [found]
    assert found.is_fetched
    later = make(tmp_path / "evidence.json", lambda: NOW + timedelta(hours=5))
    assert later.current.version == found.version
    assert later.age_s == 5 * 3600
    assert (tmp_path / "evidence.json").stat().st_mode & 0o077 == 0


async def test_a_failed_fetch_keeps_what_is_known(tmp_path: Path) -> None:
    evidence = make(tmp_path / "evidence.json")
    before = await evidence.refresh(Provider(document()))
    with pytest.raises(KeyRefused):
        await evidence.refresh(Provider(KeyRefused("No.")))
    assert evidence.current is before
    assert isinstance(evidence.last_error, KeyRefused)
    await evidence.refresh(Provider(document(51)))
    assert evidence.last_error is None


async def test_a_damaged_file_is_named_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    path.write_text("{")
    evidence = make(path)
    assert not evidence.current.is_fetched
    assert isinstance(evidence.last_error, ConfigurationError)
    assert str(path) in evidence.last_error.message
    assert "devflow models refresh" in evidence.last_error.message
    await evidence.refresh(Provider(document()))
    assert make(path).current.is_fetched


async def test_another_process_reads_what_was_saved(tmp_path: Path) -> None:
    one, two = (make(tmp_path / "evidence.json") for _ in range(2))
    assert not await two.reload()
    await one.refresh(Provider(document()))
    assert await two.reload()
    assert two.current.version == one.current.version
    assert not await two.reload()


async def run_for(evidence: LiveEvidence, provider: Any, clock: FakeClock, hours: int) -> list[str]:
    """Run the renewal for some hours of the clock; return what was told."""
    told: list[str] = []
    done = asyncio.Event()
    until_s = clock.now_s + hours * 3600

    async def sleep(seconds: float) -> None:
        clock.advance(seconds)
        if clock.now_s >= until_s:
            done.set()
            await asyncio.Event().wait()
        await asyncio.sleep(0)

    def on_error(error: DevFlowError) -> None:
        told.append(error.message)

    task = asyncio.create_task(evidence.run(provider, on_error=on_error, sleep=sleep))
    await done.wait()
    task.cancel()
    await asyncio.wait([task])
    return told


async def test_scores_are_renewed_once_a_day() -> None:
    clock = FakeClock()
    days: list[datetime] = []

    async def fetch() -> JsonObject:
        days.append(clock.now())
        return document(50.0 + len(days), clock.now())

    assert await run_for(make(clock=clock.now), fetch, clock, 49) == []
    assert len(days) == 3


async def test_a_missing_key_is_told_once_and_tried_hourly() -> None:
    clock = FakeClock()
    provider = Provider(*[ConfigurationError("No key.")] * 4, KeyRefused("Refused."))
    told = await run_for(make(clock=clock.now), provider, clock, 7)
    assert told == ["No key.", "Refused."]
    assert provider.calls == 7


async def test_a_document_that_the_decoder_stumbles_over_does_not_end_the_renewing() -> None:
    evidence, errors, waits = make(), list[str](), list[float]()
    source = Provider({"value": "no number", "fetched_at": NOW.isoformat()}, document())

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if evidence.current.is_fetched:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await evidence.run(source, on_error=lambda one: errors.append(one.code), sleep=sleep)
    assert errors == ["upstream_protocol_error"]
    assert evidence.last_error is None
