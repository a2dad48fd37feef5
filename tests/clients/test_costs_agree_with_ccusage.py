"""`devflow costs` says what ccusage says of the same transcripts, or why it says something else."""

import json
import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from clients.matrix import installed_command
from devflow_cli.testing import run_command

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "packages/adapters/claude_code/tests/samples"
EXAMPLES = ROOT / "examples/sessions"
ZONES = ("UTC", "Asia/Tokyo", "America/Los_Angeles")
UNPRICED = "claude-opus-5-5"
"""Newer than the price list that ccusage brings along."""
SONNET = "claude-sonnet-4-5-20250929"
OTHERS = "deepseek/deepseek-chat"
"""Anthropic's prices are fixed; those of other models depend on the provider."""
COUNTS = {
    "input_tokens": "inputTokens",
    "output_tokens": "outputTokens",
    "cache_read_tokens": "cacheReadTokens",
}


class Home:
    """A home with transcripts, which both programs read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.projects = folder / ".claude" / "projects"
        self.projects.mkdir(parents=True)
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "CLAUDE_CONFIG_DIR": str(folder / ".claude"),
        }

    def keep(self, version: str) -> None:
        """Put the recorded sessions of a version there, each scenario as a project."""
        for scenario in (SAMPLES / "transcripts" / version).iterdir():
            shutil.copytree(scenario, self.projects / f"{version}-{scenario.name}")

    def write(self, *rows: dict[str, Any]) -> None:
        """Put a session of these rows there."""
        path = self.projects / "-p" / "11111111-2222-4333-8444-555555555555.jsonl"
        path.parent.mkdir(exist_ok=True)
        # without spaces, as the client writes it: ccusage looks for `"usage":{`
        path.write_text("".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows))

    def ours(self, view: str, *arguments: str) -> dict[str, Any]:
        return run_command(
            "costs", view, "--json", *arguments, folder=self.folder, environment=self.environment
        ).document

    def theirs(self, view: str, *arguments: str) -> dict[str, Any]:
        done = subprocess.run(
            [*installed_command("ccusage"), "claude", view, "--offline", "--json", *arguments],
            env=self.environment,
            capture_output=True,
            check=True,
            timeout=60,
        )
        return json.loads(done.stdout)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def reply(number: int, at: datetime, **usage: Any) -> dict[str, Any]:
    model = usage.pop("model", SONNET)
    return {
        "type": "assistant",
        "uuid": f"00000000-0000-4000-8000-{number:012}",
        "timestamp": at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "sessionId": "11111111-2222-4333-8444-555555555555",
        "version": "2.1.329",
        "cwd": "/p",
        "requestId": f"req_{number}",
        "message": {
            "id": f"msg_{number}",
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [{"type": "text", "text": "x"}],
            "usage": {
                "input_tokens": 100,
                "output_tokens": 50,
                "cache_read_input_tokens": 1000,
                "cache_creation_input_tokens": 300,
                "cache_creation": {
                    "ephemeral_5m_input_tokens": 100,
                    "ephemeral_1h_input_tokens": 200,
                },
                **usage,
            },
        },
    }


def written(counts: dict[str, Any]) -> int:
    return counts["cache_write_5m_tokens"] + counts["cache_write_1h_tokens"]


def assert_same_tokens(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    for name, their_name in COUNTS.items():
        assert ours[name] == theirs[their_name], name
    assert written(ours) == theirs["cacheCreationTokens"]
    assert ours["total_tokens"] == theirs["totalTokens"]


def assert_same_models(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    found = {one["model"]: one for one in ours["models"]}
    assert set(found) == {one["modelName"] for one in theirs["modelBreakdowns"]}
    for model in theirs["modelBreakdowns"]:
        own = found[model["modelName"]]
        for name, their_name in COUNTS.items():
            assert own[name] == model[their_name]
        assert written(own) == model["cacheCreationTokens"]
        if model["modelName"] not in (UNPRICED, OTHERS):
            assert float(own["cost_usd"]) == pytest.approx(model["cost"], rel=1e-9)


@pytest.mark.parametrize("version", ["2.0.77", "2.1.329"])
@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    ("view", "key"), [("daily", "date"), ("weekly", "week"), ("monthly", "month")]
)
def test_days_weeks_and_months_agree(
    home: Home, version: str, zone: str, view: str, key: str
) -> None:
    home.keep(version)
    ours, theirs = home.ours(view, "-z", zone), home.theirs(view, "-z", zone)
    assert [one["key"] for one in ours["rows"]] == [one[key] for one in theirs[view]]
    for own, their in zip(ours["rows"], theirs[view], strict=True):
        assert_same_tokens(own, their)
        assert_same_models(own, their)
    assert_same_tokens(ours["total"], theirs["totals"])


def test_sessions_agree(home: Home) -> None:
    """Sub-agents count with their session; a reply that a fork copied, with its original."""
    home.keep("2.1.329")
    shutil.copytree(
        EXAMPLES,
        home.projects / "-examples",
        ignore=lambda _, names: {name for name in names if not name.endswith(".jsonl")},
    )
    ours = {one["key"]: one for one in home.ours("session")["rows"]}
    theirs = {one["sessionId"]: one for one in home.theirs("session")["sessions"]}
    # of a fork and its original, each program takes one for the owner of what both hold
    forked = {
        path.stem
        for name in ("resumed", "crashed", "crashed-then-resumed", "coding", "failing")
        for path in home.projects.glob(f"*-{name}/*.jsonl")
    }
    examples = {path.stem for path in EXAMPLES.glob("*.jsonl")}
    compared = set(theirs) - forked - examples
    assert len(compared) > 15
    assert compared <= set(ours)
    for session_id in compared:
        assert_same_tokens(ours[session_id], theirs[session_id])
        assert_same_models(ours[session_id], theirs[session_id])


def test_blocks_agree_with_rate_and_projection(home: Home) -> None:
    now = datetime.now(UTC)
    minutes = (60 * 24, 60 * 20, 60 * 13, 100, 90, 30, 10)
    home.write(*(reply(at, now - timedelta(minutes=at)) for at in minutes))
    ours = home.ours("blocks")["rows"]
    theirs = home.theirs("blocks")["blocks"]
    assert len(ours) == len(theirs)
    for own, their in zip(ours, theirs, strict=True):
        assert (own["is_gap"], own["is_active"]) == (their["isGap"], their["isActive"])
        for name, their_name in (("starts_at", "startTime"), ("ends_at", "endTime")):
            begins = datetime.fromisoformat(their[their_name])
            assert abs(datetime.fromisoformat(own[name]) - begins) < timedelta(milliseconds=2)
        assert own["total_tokens"] == their["totalTokens"]
        assert float(own["cost_usd"]) == pytest.approx(their["costUSD"])
    (active,) = [one for one in ours if one["is_active"]]
    rate, ahead = theirs[-1]["burnRate"], theirs[-1]["projection"]
    assert active["burn_rate"]["tokens_per_min"] == pytest.approx(rate["tokensPerMinute"])
    assert float(active["burn_rate"]["usd_per_hour"]) == pytest.approx(rate["costPerHour"])
    # the two programs start a moment apart
    assert abs(active["projection"]["remaining_min"] - ahead["remainingMinutes"]) <= 2
    assert active["projection"]["tokens"] == pytest.approx(ahead["totalTokens"], rel=0.1)


NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def without_request(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "requestId"}


DIFFERENCES: dict[str, tuple[list[dict[str, Any]], float, float]] = {
    # Anthropic bills every token of a prompt over 200,000 at the higher price
    "long prompts": ([reply(1, NOON, input_tokens=300_000)], 1.804875, 1.202625),
    "web searches": (
        [reply(1, NOON, server_tool_use={"web_search_requests": 3})], 0.032925, 0.002925,
    ),
    "kept in the United States": ([reply(1, NOON, inference_geo="us")], 0.0032175, 0.002925),
    # 1.0 copies rows into a resumed session without their request id
    "copies without a request id": (
        [reply(1, NOON), without_request(reply(1, NOON))], 0.002925, 0.00585,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DIFFERENCES)
def test_where_they_differ(home: Home, name: str) -> None:
    """docs/costs.md says which is right; a change of ccusage's shows here."""
    rows, own, their = DIFFERENCES[name]
    home.write(*rows)
    assert float(home.ours("daily", "-z", "UTC")["total"]["cost_usd"]) == pytest.approx(own)
    theirs = home.theirs("daily", "-z", "UTC")["totals"]
    assert theirs["totalCost"] == pytest.approx(their, rel=1e-3)


def test_what_has_no_price_is_told(home: Home) -> None:
    home.write(reply(1, NOON, model="claude-unheard-9"))
    ours = home.ours("daily", "-z", "UTC")["total"]
    assert (ours["cost_usd"], ours["is_complete"]) == ("0", False)
    assert "models refresh" in ours["missing"][0]["remedy"]
    assert home.theirs("daily")["totals"]["unpricedModels"] == ["claude-unheard-9"]
