"""`devflow sessions` tells what a session cost, each reply once, or says "at least"."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from devflow_cli.testing import run_command

FAULTY = Path(__file__).parents[2] / "packages/adapters/claude_code/tests/samples/faulty"
SESSION, FORK = (f"11111111-2222-4333-8444-00000000000{number}" for number in (1, 2))
UNKNOWN_MODEL = "of an unknown model"


@dataclass(frozen=True, slots=True)
class Home:
    """A home with one project of Claude Code's, and the command as it is installed."""

    path: Path

    @property
    def project(self) -> Path:
        return self.path / ".claude" / "projects" / "-home-u-shop"

    def keep(self, name: str, change: Callable[[str], str] = str, start: str = "11111111") -> None:
        """Put the transcripts of a sample into the project, their ids beginning as told."""
        for source in (FAULTY / name).rglob("*.jsonl"):
            below = str(source.relative_to(FAULTY / name)).replace("11111111", start)
            target = self.project / below
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(change(source.read_text()))

    def run(self, *arguments: str) -> str:
        """What a command wrote."""
        environment = {
            "HOME": str(self.path),
            "CLAUDE_CONFIG_DIR": str(self.path / ".claude"),
            "DEVFLOW_DATA_DIR": str(self.path / "data"),
            "PATH": os.environ["PATH"],
            "COLUMNS": "200",
        }
        ended = run_command(*arguments, folder=self.path, environment=environment)
        assert ended.status == 0, ended.err
        return ended.out

    def show(self, session: str = SESSION) -> dict[str, Any]:
        """The document of a session."""
        return json.loads(self.run("sessions", "show", session, "--json"))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path)
    made.project.mkdir(parents=True)
    return made


COSTS = {
    "fast": "15",
    "workflow_agents": "3.0045",
    "advisor": "1.007506",
    "websearch": "0.5",
    "same_mid": "0.013545",
    "bedrock": "0.0045",
    "haiku3": "0.0012",
    "glm": "0.00077",
    "float_tokens": "0.0048",
}
BEDROCK = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
NAMES = (
    "eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "anthropic.claude-sonnet-4-5-20250929-v1:0:200k",
    "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/"
    "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "claude-sonnet-4-5@20250929",
    "publishers/anthropic/models/claude-sonnet-4-5@default",
    "anthropic/claude-sonnet-4-5-20250929",
    "anthropic/claude-sonnet-4.5",
    "claude-sonnet-4-5-latest",
    "claude-sonnet-4-5[1m]",
    "claude-3-7-sonnet-20250219",
    "us.anthropic.claude-3-5-sonnet-20241022-v2:0",
)


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The samples, and one of them under every name of its model, as one command lists them."""
    made = Home(tmp_path_factory.mktemp("home"))
    samples = [*((name, BEDROCK) for name in COSTS), *(("bedrock", model) for model in NAMES)]
    for number, (name, model) in enumerate(samples):

        def change(text: str, number: int = number, model: str = model) -> str:
            own = text.replace("11111111", f"{number:08d}").replace("msg_", f"msg_{number}_")
            return own.replace(BEDROCK, model)

        made.keep(name, change, f"{number:08d}")
    document = json.loads(made.run("sessions", "list", "--json"))
    found = {int(one["session_id"][:8]): one for one in document["sessions"]}
    return dict(zip((*COSTS, *NAMES), (found[at] for at in range(len(samples))), strict=True))


@pytest.mark.parametrize("name", COSTS)
def test_a_session_costs_the_sum_of_its_replies(
    listed: dict[str, dict[str, Any]], name: str
) -> None:
    assert listed[name]["cost_usd"] == COSTS[name]
    assert listed[name]["is_complete"] is True
    assert listed[name]["missing"] == []


@pytest.mark.parametrize("model", NAMES)
def test_a_model_costs_the_same_under_every_name(
    listed: dict[str, dict[str, Any]], model: str
) -> None:
    assert (listed[model]["cost_usd"], listed[model]["is_complete"]) == ("0.0045", True)


@pytest.mark.parametrize(
    ("name", "cost_usd", "amount", "reason"),
    [
        ("null_model", "0.0045", "$0.0045", UNKNOWN_MODEL),
        ("absurd_tokens", "0", "$0.00", "with impossible token counts"),
    ],
)
def test_a_reply_without_a_price_makes_the_sum_a_lower_bound(
    home: Home, name: str, cost_usd: str, amount: str, reason: str
) -> None:
    home.keep(name)
    shown = home.show()
    assert shown["cost_usd"] == cost_usd
    assert shown["is_complete"] is False
    assert [(one["replies"], one["reason"]) for one in shown["missing"]] == [(1, reason)]
    assert f"≥ {amount} (1 reply {reason})" in home.run("sessions", "show", SESSION)
    listed = json.loads(home.run("sessions", "list", "--json"))
    assert listed["sessions"][0]["is_complete"] is False
    assert f"Together ≥ {amount} (1 reply {reason})" in home.run("sessions", "list")


def test_a_name_left_to_the_client_is_an_unknown_model_too(home: Home) -> None:
    home.keep("null_model", lambda text: text.replace('"model": null', '"model": "<synthetic>"'))
    shown = home.show()
    assert (shown["cost_usd"], shown["is_complete"]) == ("0.0045", False)
    assert shown["missing"][0]["reason"] == UNKNOWN_MODEL


def test_newer_models_have_a_price_and_the_unknown_a_remedy(home: Home) -> None:
    home.keep("fast", lambda text: text.replace("opus-4-8", "opus-5-5").replace("fast", "standard"))
    assert home.show()["cost_usd"] == "6"
    home.keep("fast", lambda text: text.replace("opus-4-8", "opus-5-5"))
    shown = home.show()
    assert (shown["cost_usd"], shown["unpriced_models"]) == ("0", ["claude-opus-5-5-fast"])
    for written in (shown["missing"][0]["remedy"], home.run("sessions", "show", SESSION)):
        assert "devflow models refresh" in written
        assert '[models."claude-opus-5-5-fast"]' in written
    own = home.path / ".config" / "devflow" / "devflow.toml"
    own.parent.mkdir(parents=True)
    own.write_text(
        '[models."claude-opus-5-5-fast"]\n'
        'prompt_usd_per_mtok = "8"\ncompletion_usd_per_mtok = "40"\n'
    )
    assert home.show()["cost_usd"] == "12"


def test_agents_at_any_depth_are_shown_and_links_are_not_followed(home: Home) -> None:
    home.keep("workflow_agents")
    nested = home.project / SESSION / "subagents" / "workflows" / "wf_1"
    deeper = nested / "wf_2" / "wf_3" / "agent-b.jsonl"
    deeper.parent.mkdir(parents=True)
    agent = (nested / "agent-a1.jsonl").read_text()
    deeper.write_text(agent.replace("msg_wf", "msg_deep").replace("aaaaaaaa", "bbbbbbbb"))
    stranger = home.path / "stranger"
    stranger.mkdir()
    (stranger / "agent-x.jsonl").write_text(agent.replace("msg_wf", "msg_x"))
    (nested / "wf_link").symlink_to(stranger)
    (nested / "agent-y.jsonl").symlink_to(stranger / "agent-x.jsonl")
    shown = home.show()
    assert shown["cost_usd"] == "6.0045"
    assert shown["agents"] == ["workflows/wf_1/agent-a1", "workflows/wf_1/wf_2/wf_3/agent-b"]
    assert "workflows/wf_1/agent-a1" in home.run("sessions", "show", SESSION)


@pytest.mark.parametrize("name", ["fork_two_files", "copied_history_cost"])
def test_a_copied_reply_counts_in_the_session_that_made_it(home: Home, name: str) -> None:
    home.keep(name)
    listed = json.loads(home.run("sessions", "list", "--json"))
    assert listed["total"]["cost_usd"] == "0.009"
    costs = {one["session_id"]: one["cost_usd"] for one in listed["sessions"]}
    assert costs == {SESSION: "0.0045", FORK: "0.0045"}
    copied = {one["session_id"]: one["copied"] for one in listed["sessions"]}
    assert copied[SESSION] is None
    for said in (copied[FORK], home.show(FORK)["copied"]):
        assert (said["replies"], said["cost_usd"], said["from"]) == (1, "0.0045", [SESSION])
    assert f"1 reply of {SESSION}" in home.run("sessions", "show", FORK)
    assert home.show()["cost_usd"] == home.show(FORK)["cost_usd"] == "0.0045"


def test_a_fork_whose_original_is_gone_counts_itself(home: Home) -> None:
    home.keep("fork_two_files")
    (home.project / f"{SESSION}.jsonl").unlink()
    assert home.show(FORK)["cost_usd"] == "0.009"


def test_what_if_compares_with_what_was_really_billed(home: Home) -> None:
    home.keep("advisor")
    document = json.loads(home.run("whatif", SESSION, "--json"))
    assert document["recorded"]["cost_usd"] == "1.007506"
    assert set(document["recorded"]["models"]) == {
        "claude-sonnet-4-5-20250929",
        "claude-opus-4-7",
    }
    home.keep("null_model")
    document = json.loads(home.run("whatif", SESSION, "--json"))
    assert (document["recorded"]["cost_usd"], document["recorded"]["is_complete"]) == (
        "0.0045",
        False,
    )
    assert {one["difference_usd"] for one in document["models"]} == {None}
    assert f"Recorded: ≥ $0.0045 (1 reply {UNKNOWN_MODEL})" in home.run("whatif", SESSION)


def test_the_costs_of_all_sessions_add_up(home: Home) -> None:
    for name in ("fork_two_files", "workflow_agents"):
        home.keep(name)
    listed = json.loads(home.run("sessions", "list", "--json"))
    sum_usd = sum((Decimal(one["cost_usd"]) for one in listed["sessions"]), Decimal(0))
    assert sum_usd == Decimal(listed["total"]["cost_usd"])
