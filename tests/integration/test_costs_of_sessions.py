"""`devflow costs` adds up sessions and ledger, each call once; lists open only what changed."""

import json
import os
import shutil
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from devflow_cli.testing import CommandResult, run_command
from devflow_sandbox import Sandbox

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "sessions"
CODING = "b0b4c439-0397-43ca-ab6e-d4217f8a9811"


@dataclass(frozen=True)
class Home:
    """A home with the example sessions, and the command as it is installed."""

    path: Path
    sandbox: Sandbox

    @property
    def projects(self) -> Path:
        return self.path / ".claude" / "projects"

    def run(self, *arguments: str, status: int = 0, columns: int = 200) -> CommandResult:
        environment = {
            "HOME": str(self.path),
            "PATH": os.environ["PATH"],
            "COLUMNS": str(columns),
            "TZ": "UTC",
            "OPENROUTER_BASE_URL": self.sandbox.base_url,
            "OPENROUTER_API_KEY": self.sandbox.api_key,
        }
        ended = run_command(*arguments, folder=self.path, environment=environment)
        assert ended.status == status, ended.err
        return ended

    def costs(self, *arguments: str) -> dict[str, Any]:
        return self.run("costs", *arguments, "--json").document

    def usd(self, *arguments: str) -> Decimal:
        return Decimal(self.costs(*arguments)["total"]["cost_usd"])


@pytest.fixture
def home(tmp_path: Path, openrouter_sandbox: Sandbox) -> Home:
    made = Home(tmp_path, openrouter_sandbox)
    folder = made.projects / "-home-dev-demo"
    folder.mkdir(parents=True)
    for path in EXAMPLES.glob("*.jsonl"):
        shutil.copy(path, folder)
    return made


def test_every_view_comes_to_the_same(home: Home) -> None:
    views = (
        "daily",
        "weekly",
        "monthly",
        "session",
        "blocks",
        "model",
        "project",
        "branch",
        "agent",
    )
    shown = {view: home.costs(view) for view in views}
    totals = {document["total"]["cost_usd"] for document in shown.values()}
    (total,) = totals
    for view, document in shown.items():
        added = sum(Decimal(row["cost_usd"]) for row in document["rows"])
        assert added == Decimal(total), view
        assert document["view"] == view
    listed = home.run("sessions", "list", "--json").document
    assert listed["total"]["cost_usd"] == total
    assert {row["key"] for row in shown["session"]["rows"]} == {
        row["session_id"] for row in listed["sessions"]
    }


def test_periods_and_projects_narrow_it(home: Home) -> None:
    all_of_it = home.usd()
    assert home.usd("--since", "2026-11-21", "--until", "2026-11-22") == all_of_it
    assert home.usd("--until", "2026-11-21") == 0
    assert home.usd("--since", "2026-11-22") == 0
    early = home.usd("--until", "2026-11-21T01:28")
    assert 0 < early < all_of_it
    assert early + home.usd("--since", "2026-11-21T01:28") == all_of_it
    assert home.usd("--project", "demo") == all_of_it
    assert home.usd("--project", "/home/dev/demo") == all_of_it
    # a day begins elsewhere in another zone
    assert home.costs("-z", "America/New_York")["rows"][0]["key"] == "2026-11-20"
    assert "not a time zone" in home.run("costs", "-z", "Nowhere/Here", status=2).err


def test_without_a_block_in_progress_the_latest_is_named(home: Home) -> None:
    done = home.run("costs", "blocks", "--active")
    assert (done.out, "The latest began at 2026-11-21 01:00" in done.err) == ("", True)


def test_a_reply_through_the_gateway_counts_once_as_it_was_booked(home: Home) -> None:
    before = home.usd()
    handed = home.run(
        "handoff", CODING, "--to", "openai/gpt-4o-mini", "--write-back", "--json"
    ).document
    (billed,) = home.sandbox.bill()["calls"]
    assert handed["cost_usd"] == billed["cost_usd"]
    # the new session copies the old one, and holds the reply that the ledger has too
    written = home.projects.glob(f"*/{handed['resume']['session_id']}.jsonl")
    assert len(list(written)) == 1
    after = home.costs()["total"]
    assert Decimal(after["cost_usd"]) == before + Decimal(billed["cost_usd"])
    assert after["booked_usd"] == billed["cost_usd"]
    by_model = {row["key"]: row["cost_usd"] for row in home.costs("model")["rows"]}
    assert by_model["openai/gpt-4o-mini"] == billed["cost_usd"]
    # without the ledger, the transcript's figure is what is left
    shutil.rmtree(home.path / ".local")
    alone = home.costs("model")
    assert alone["total"]["booked_usd"] == "0"
    assert Decimal(alone["total"]["cost_usd"]) > before


def test_what_leaves_no_row_in_a_transcript_counts_as_well(home: Home) -> None:
    before = home.usd()
    asked = home.run("ask", "What is left?", "--session", CODING, "--json").document
    assert home.usd() == before + Decimal(asked["cost_usd"])
    # requests of no session are the report's, not of Claude Code
    home.run("ask", "Hello")
    assert home.usd() == before + Decimal(asked["cost_usd"])


def test_a_list_says_how_many_more_there_are(home: Home) -> None:
    first = home.run("sessions", "list", "--limit", "2")
    assert first.out.count("2026-11-21") == 2
    assert "1 more" in first.out
    document = home.run("sessions", "list", "--limit", "2", "--json").document
    assert (len(document["sessions"]), document["more"]) == (2, 1)
    times = [row["last_at"] for row in home.run("sessions", "list", "--json").document["sessions"]]
    assert times == sorted(times, reverse=True)
    assert "more" not in home.run("sessions", "list", "--limit", "0").out


def test_a_list_of_one_project_is_of_that_project(home: Home) -> None:
    listed = home.run("sessions", "list", "--project", "/home/dev/demo", "--json").document
    assert len(listed["sessions"]) == 3


def test_the_ledger_is_not_created_by_looking(home: Home) -> None:
    home.costs()
    folder = home.path / ".local/share/devflow/sandbox"
    assert [path.name for path in folder.iterdir()] == ["sessions.db"]


def test_nothing_there_is_said(home: Home) -> None:
    shutil.rmtree(home.projects)
    assert "cost nothing" in home.run("costs").out
    assert json.loads(home.run("costs", "blocks", "--json").out)["rows"] == []


def test_a_breakdown_names_every_model(home: Home) -> None:
    told = home.run("costs", "monthly", "--breakdown").out
    assert "claude-opus-5-5" in told
    assert "claude-sonnet-4-5-20250929" in told
    assert "2026-11" in told
    assert "Together" in told
