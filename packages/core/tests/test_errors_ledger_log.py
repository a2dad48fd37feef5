"""Errors have a status and a code, ledgers record entries, and logs hold no secret."""

import io
import json

import pytest
import structlog
from devflow_core import errors
from devflow_core.ledger import Tee, replay
from devflow_core.log import configure
from devflow_core.memory import MemoryLedger
from devflow_core.status_errors import error_for_status
from devflow_core.testing import an_attempt, an_entry


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (429, errors.RateLimited),
        (418, errors.UpstreamRejected),
        (599, errors.ProviderUnavailable),
        (302, errors.ProviderUnavailable),
    ],
)
def test_every_status_has_an_error(status: int, expected: type[errors.UpstreamError]) -> None:
    assert error_for_status(status) is expected


def test_all_candidates_failed_names_them_and_the_shortest_wait() -> None:
    error = errors.AllCandidatesFailed(
        (
            errors.Overloaded("is full.", model="a/b", retry_after_s=9.0),
            errors.RateLimited("asks to wait.", model="c/d", retry_after_s=3.0),
            errors.NotSent("is unreachable."),
        )
    )
    assert error.retry_after_s == 3.0
    assert "a/b: is full.; c/d: asks to wait.; unknown model: is unreachable." in str(error)
    assert errors.AllCandidatesFailed(()).model is None


def test_an_invalid_structured_reply_holds_what_came() -> None:
    error = errors.StructuredOutputInvalid("no", reply="{}", violations=("$: x",), model="a/b")
    assert (error.reply, error.violations, error.model) == ("{}", ("$: x",), "a/b")


def test_codes_are_unique_and_statuses_legal() -> None:
    def below(cls: type[errors.DevFlowError]) -> list[type[errors.DevFlowError]]:
        return [cls, *(one for sub in cls.__subclasses__() for one in below(sub))]

    ours = [cls for cls in below(errors.DevFlowError) if cls.__module__ == errors.__name__]
    bases = {base for cls in ours for base in cls.__bases__}
    leaves = [cls for cls in ours if cls not in bases]
    codes = [cls.code for cls in leaves if cls is not errors.InvalidRequest]
    assert sorted(set(codes)) == sorted(codes)
    assert all(400 <= cls.status_hint < 600 for cls in leaves)


def test_an_entry_adds_up_its_attempts() -> None:
    entry = an_entry(
        attempts=(
            an_attempt(cost_status="estimated", outcome="failed"),
            an_attempt(attempt_id="att_2", number=2),
        )
    )
    assert entry.cost_status == "estimated"
    assert entry.usage.total_tokens == 240
    assert an_entry().cost_status == "settled"


def test_a_tee_feeds_every_view_and_replay_rebuilds_one() -> None:
    first, second = MemoryLedger(max_entries=2), MemoryLedger()
    entries = [an_entry(entry_id=f"req_{number}") for number in range(3)]
    replay(entries, Tee(first, second))
    assert first.entries == tuple(entries[1:])
    assert second.entries == tuple(entries)


def logged(style: str, **values: object) -> str:
    out = io.StringIO()
    configure("info", style, out)  # type: ignore[arg-type]
    structlog.get_logger().info("asked", **values)
    structlog.reset_defaults()
    return out.getvalue()


def test_no_secret_reaches_a_log_however_deep() -> None:
    key = "sk-or-v1-" + "c" * 64
    text = logged(
        "json",
        key=key,
        headers={"Authorization": f"Bearer {key}"},
        items=[key, (key,)],
        error=ValueError(f"wrong key {key}"),
        count=3,
        ratio=0.5,
        nothing=None,
    )
    assert "cccc" not in text
    event = json.loads(text)
    assert (event["count"], event["ratio"], event["nothing"]) == (3, 0.5, None)
    assert event["headers"] == {"Authorization": "Bearer [masked API key]"}


def test_logs_for_a_person_are_one_line() -> None:
    assert "asked" in logged("console", model="a/b")


def test_logs_follow_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "json")
    structlog.get_logger().info("asked")
    structlog.reset_defaults()
    assert "asked" in capsys.readouterr().err
