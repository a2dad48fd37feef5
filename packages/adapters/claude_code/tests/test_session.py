import json
import os
from collections import Counter
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from devflow_claude_code import ClaudeCodeSession, hand_off, list_sessions
from devflow_claude_code.reading.paths import project_slug
from devflow_claude_code.reading.rows import TranscriptRow
from devflow_claude_code.reading.session_cost import fold_usage, read_turns
from devflow_claude_code.reading.transcript import Transcript
from devflow_claude_code.reading.usage import TranscriptTokens, as_usage
from devflow_core.errors import SessionError
from devflow_core.usage import KnownCost, Price, Usage


def unknown(_model: str) -> Price | None:
    return None


def test_the_branch_is_the_one_the_client_resumes(recorded: Path, samples: Path) -> None:
    everything = json.loads((samples / "expected_branches.json").read_text())
    expected = everything[str(recorded.relative_to(samples / "transcripts"))]
    shown = ClaudeCodeSession.open(recorded).detail_json(unknown)
    assert shown["branch"] == expected["branch"]
    assert shown["skipped_lines"] == expected["skipped_lines"]


def test_usage_agrees_with_ccusage_session_by_session(samples: Path) -> None:
    """2.1.329: sub-agents count with their session."""
    expected = json.loads((samples / "expected_usage" / "2.1.329-session.json").read_text())
    found = {path.stem: path for path in (samples / "transcripts" / "2.1.329").glob("*/*.jsonl")}
    for session in expected["sessions"]:
        path = found[session["sessionId"]]
        if path.parent.name in ("resumed", "crashed", "crashed-then-resumed"):
            continue  # rows that two files hold count in only one of them there
        ours = ClaudeCodeSession.open(path).spend.by_model()
        assert set(ours) == set(session["modelsUsed"])
        for model in session["modelBreakdowns"]:
            assert_equal(ours[model["modelName"]], model)


def test_warm_up_calls_of_2_0_are_left_out(samples: Path) -> None:
    expected = json.loads((samples / "expected_usage" / "2.0.77-session.json").read_text())
    by_id = {one["sessionId"]: one for one in expected["sessions"]}
    for name in ("coding", "failing", "denied", "plan", "tui"):
        (path,) = (samples / "transcripts" / "2.0.77" / name).glob("*-*-*-*-*.jsonl")
        (model,) = by_id[path.stem]["modelBreakdowns"]
        assert_equal(ClaudeCodeSession.open(path).spend.by_model()[model["modelName"]], model)


def test_sub_agents_of_2_0_count_with_their_session(recording: Callable[[str], Path]) -> None:
    session = ClaudeCodeSession.open(recording("2.0.77/subagent"))
    alone = fold_usage(session.transcript.rows)
    assert len(session.spend.responses) > len(alone.responses)


@pytest.mark.parametrize("name", ["1.0.128/two-agents", "2.0.77/subagent", "2.1.329/subagent"])
def test_the_turns_of_a_session_are_its_spending_in_time_and_threads(
    recording: Callable[[str], Path], name: str
) -> None:
    session = ClaudeCodeSession.open(recording(name))
    turns = session.turns
    spent = sum((as_usage(one.tokens) for one in session.spend.responses), Usage())
    assert sum((turn.usage for turn in turns), Usage()) == spent
    assert [turn.started_at for turn in turns] == sorted(turn.started_at for turn in turns)
    assert len({turn.thread for turn in turns}) > 1


def test_a_row_without_a_timestamp_is_not_a_turn(recording: Callable[[str], Path]) -> None:
    rows = ClaudeCodeSession.open(recording("2.1.329/subagent")).transcript.rows
    (first, *_) = [row for row in rows if row.tokens]
    assert read_turns([first._replace(timestamp="yesterday")]) == ()
    assert (
        read_turns([first._replace(timestamp="2026-11-21T12:00:00")])[0].started_at.tzinfo
        is not None
    )


def assert_equal(ours: TranscriptTokens, expected: dict[str, Any]) -> None:
    assert ours.input == expected["inputTokens"]
    assert ours.cache_read == expected["cacheReadTokens"]
    assert ours.cache_write_5m + ours.cache_write_1h == expected["cacheCreationTokens"]
    assert ours.output == expected["outputTokens"]


@pytest.mark.parametrize("version", ["2.0.77", "2.1.329"])
def test_all_files_together_agree_with_ccusage(version: str, samples: Path) -> None:
    """Of 1.0.128 ccusage counts 12 responses twice, whose copies lack the request id."""
    expected = json.loads((samples / "expected_usage" / f"{version}-daily.json").read_text())
    rows: list[TranscriptRow] = []
    for path in (samples / "transcripts" / version).glob("**/*.jsonl"):
        is_in_both = path.parent.name != "cmd-context"  # recorded after ccusage was run
        if is_in_both and not path.name.startswith("_"):
            transcript = Transcript(path)
            transcript.refresh()
            rows += transcript.rows
    ours = Counter[str]()
    for tokens in fold_usage(rows).by_model().values():
        ours.update(tokens._asdict())
    assert ours["input"] == expected["totals"]["inputTokens"]
    assert ours["cache_read"] == expected["totals"]["cacheReadTokens"]
    assert (
        ours["cache_write_5m"] + ours["cache_write_1h"] == expected["totals"]["cacheCreationTokens"]
    )
    assert ours["output"] == expected["totals"]["outputTokens"]


def price(_model: str) -> Price:
    return Price(
        prompt=Decimal("0.00001"),
        completion=Decimal("0.00005"),
        cache_read=Decimal("0.000001"),
        cache_write=Decimal("0.0000125"),
        cache_write_1h=Decimal("0.00002"),
    )


def test_writes_for_an_hour_cost_more_than_those_for_five_minutes(
    recording: Callable[[str], Path],
) -> None:
    session = ClaudeCodeSession.open(recording("2.1.329/cache-1h"))
    tokens = session.spend.by_model()["claude-opus-5-5"]
    assert tokens.cache_write_1h > 0
    expected = (
        tokens.input * Decimal("0.00001")
        + tokens.cache_read * Decimal("0.000001")
        + tokens.cache_write_5m * Decimal("0.0000125")
        + tokens.cache_write_1h * Decimal("0.00002")
        + tokens.output * Decimal("0.00005")
    )
    assert session.spend.cost(price) == KnownCost(usd=expected)
    shown = session.detail_json(price)
    assert Decimal(shown["cost_usd"]) == expected
    assert shown["unpriced_models"] == []


def test_an_unknown_price_is_not_a_cost_of_zero(recording: Callable[[str], Path]) -> None:
    shown = ClaudeCodeSession.open(recording("2.1.329/foreign-model")).detail_json(unknown)
    assert (shown["cost_usd"], shown["is_complete"]) == ("0", False)
    (missing,) = shown["missing"]
    assert missing["reason"] == "of deepseek/deepseek-chat"
    assert '[models."deepseek/deepseek-chat"]' in missing["remedy"]
    assert shown["unpriced_models"] == ["deepseek/deepseek-chat"]


@pytest.fixture
def config(tmp_path: Path, transcripts: Path) -> Path:
    """A configuration folder with two projects."""
    root = tmp_path / ".claude"
    for project, name in (("/home/dev/demo", "2.1.329/coding"), ("/home/dev/shop", "2.0.77/tui")):
        folder = root / "projects" / project_slug(Path(project))
        folder.mkdir(parents=True)
        for path in (transcripts / name).glob("*-*-*-*-*.jsonl"):
            (folder / path.name).write_bytes(path.read_bytes())
            os.utime(folder / path.name, (1e9, 1e9 + len(name)))
    return root


CODING = "b0b4c439-0397-43ca-ab6e-d4217f8a9811"


def test_sessions_are_found_by_id_by_its_start_and_by_project(config: Path) -> None:
    for text in (CODING, "b0b4c439"):
        assert ClaudeCodeSession.find(text, config_dir=config).session_id == CODING
    assert ClaudeCodeSession.latest("/home/dev/demo", config_dir=config).session_id == CODING
    assert len(list_sessions(config_dir=config)) == 2
    listed = [
        one.summary_json(unknown) for one in list_sessions("/home/dev/demo", config_dir=config)
    ]
    assert listed[0]["session_id"] == CODING
    assert listed[0]["title"] == "Add a --json flag to report.py, with a test"
    assert listed[0]["messages"] == 34
    assert listed[0]["project"] == "/home/dev/demo"
    assert listed[0]["started_at"] < listed[0]["last_at"]


def test_a_missing_session_is_reported(config: Path) -> None:
    for text in ("ffffffff", "../etc/passwd\0", "x", "*", "b0b4*", ""):
        with pytest.raises(SessionError):
            ClaudeCodeSession.find(text, config_dir=config)
    with pytest.raises(SessionError, match="no session of /nowhere"):
        ClaudeCodeSession.latest("/nowhere", config_dir=config)
    assert list_sessions(config_dir=config / "missing") == []


def test_a_start_that_two_sessions_share_is_refused(config: Path) -> None:
    folder = config / "projects" / "-home-dev-demo"
    (folder / CODING.replace("d4217f8a9811", "000000000000")).with_suffix(".jsonl").write_bytes(
        (folder / f"{CODING}.jsonl").read_bytes()
    )
    with pytest.raises(SessionError, match="2 sessions begin with b0b4"):
        ClaudeCodeSession.find("b0b4", config_dir=config)


def test_a_link_that_leads_out_of_the_projects_is_not_followed(
    config: Path, recording: Callable[[str], Path]
) -> None:
    stranger = "abcdabcd-0397-43ca-ab6e-d4217f8a9811"
    link = config / "projects" / "-home-dev-demo" / f"{stranger}.jsonl"
    link.symlink_to(recording("2.0.77/failing"))
    folder = config / "projects" / "-out"
    folder.symlink_to(recording("2.0.77/failing").parent)
    assert stranger not in {one.session_id for one in list_sessions(config_dir=config)}
    assert len(list_sessions(config_dir=config)) == 2
    for name in (stranger, str(link)):
        with pytest.raises(SessionError, match="leads out"):
            ClaudeCodeSession.find(name, config_dir=config)


def test_a_path_anywhere_is_read_also_over_a_link(
    tmp_path: Path, recording: Callable[[str], Path]
) -> None:
    link = tmp_path / "mine.jsonl"
    link.symlink_to(recording("2.1.329/coding"))
    assert ClaudeCodeSession.open(link).session_id == CODING


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"hello\nworld\n", "not a transcript"),
        (b'{"a": 1}\n[2]\n', "not a transcript"),
        (b'{"type": "user"', "not a transcript"),
        (bytes(range(256)) * 9, "not a transcript"),
    ],
)
def test_a_file_that_is_not_a_transcript_is_refused_with_its_line(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "odd.jsonl"
    path.write_bytes(content)
    with pytest.raises(SessionError, match=reason) as caught:
        ClaudeCodeSession.open(path)
    assert "odd.jsonl:" in str(caught.value)
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SessionError, match=r"nowhere\.jsonl: cannot be read"):
        ClaudeCodeSession.open(tmp_path / "nowhere.jsonl")


def test_a_session_without_conversation_opens_but_has_no_context(
    write: Callable[[Iterable[object]], Path],
) -> None:
    session = ClaudeCodeSession.open(write([{"type": "summary", "summary": "s", "leafUuid": "x"}]))
    assert session.detail_json(unknown)["branch"] == []
    assert session.title is None  # the summary is of another session's row
    with pytest.raises(SessionError, match="no conversation"):
        session.context()
    with pytest.raises(SessionError, match="no conversation"):
        hand_off(session)


def test_a_newer_version_is_read_as_far_as_it_is_understood(
    script: Any, write: Callable[[Iterable[object]], Path]
) -> None:
    script.prompt("Do it", version="4.0.0-beta")
    script.add("hologram", shape={"x": 1}, version="4.0.0-beta")
    session = ClaudeCodeSession.open(write(script.rows))
    assert session.is_newer_than_known
    assert len(session.conversation) == 1
    assert session.detail_json(unknown)["is_newer_than_known"] is True


def test_refresh_sees_what_was_appended(
    script: Any, write: Callable[[Iterable[object]], Path]
) -> None:
    script.prompt("one")
    session = ClaudeCodeSession.open(write(script.rows))
    assert not session.refresh()
    assert len(session.conversation) == 1
    script.say("two")
    write(script.rows)
    assert session.refresh()
    assert len(session.conversation) == 2


def test_parents_in_a_circle_end(script: Any, write: Callable[[Iterable[object]], Path]) -> None:
    first, second = script.prompt("one"), script.say("two")
    first["parentUuid"] = second["uuid"]
    assert len(ClaudeCodeSession.open(write(script.rows)).conversation) == 2


def test_what_was_compacted_away_is_in_the_history(recording: Callable[[str], Path]) -> None:
    session = ClaudeCodeSession.open(recording("2.1.329/compacted"))
    assert len(session.history) > len(session.branch)
    assert session.history[-1] == session.branch[-1]


def test_the_title_is_the_users_then_the_models_then_the_first_prompt(
    recording: Callable[[str], Path],
) -> None:
    assert ClaudeCodeSession.open(recording("2.1.329/tui")).title == "demo session"
    assert ClaudeCodeSession.open(recording("2.0.77/failing")).title == (
        "The parser tests are failing. Please fix parse.py."
    )


def test_a_sub_agents_own_transcript_can_be_read(transcripts: Path) -> None:
    path = next((transcripts / "2.1.329" / "subagent").glob("*/subagents/*.jsonl"))
    assert len(ClaudeCodeSession.open(path).conversation) >= 2


def test_a_last_line_that_became_whole_is_seen(
    script: Any, write: Callable[[Iterable[object]], Path]
) -> None:
    script.prompt("one")
    script.say("two")
    path = write(script.rows)
    complete = path.read_bytes()
    path.write_bytes(complete[:-9])
    session = ClaudeCodeSession.open(path)
    assert (len(session.conversation), session.skipped_lines) == (1, 1)
    with path.open("ab") as file:
        file.write(complete[-9:])
    assert session.refresh()
    assert (len(session.conversation), session.skipped_lines) == (2, 0)
