"""Whatever a request can be told apart by is reported, exported, and capped."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from devflow_core.dimensions import BUDGET_SCOPES, DIMENSIONS, GROUPINGS
from devflow_sandbox.threaded import ThreadedSandbox
from integration.served import serve, upstream_of

HEADERS = {one.name: one.header for one in DIMENSIONS if one.header}
LABELS = {
    "X-Session-Id": "s1",
    "X-Claude-Code-Agent-Id": "a1",
    "X-DevFlow-Node": "plan",
    **{header: f"the-{name}" for name, header in HEADERS.items()},
}
SHOWN = {
    "session": "s1", "agent": "a1", "node": "plan", "model": "openai/gpt-5-nano", "key": "ci",
    **{name: f"the-{name}" for name in HEADERS},
}  # fmt: skip
PATH = "/v1/chat/completions"
ASK = {"model": "openai/gpt-5-nano", "max_tokens": 16, "messages": [
    {"role": "user", "content": "Say hi."}
]}  # fmt: skip


@pytest.fixture(scope="module")
def upstream():
    with ThreadedSandbox(seed=3) as sandbox:
        yield upstream_of(sandbox)


def test_every_grouping_is_reported_and_every_label_exported(
    tmp_path: Path, upstream: dict[str, str]
) -> None:
    with serve(tmp_path, **upstream) as served:
        reply = served.ask("POST", PATH, ASK, LABELS, key=served.make_key("ci"))
        assert reply.status == 200, reply.body
        for by in GROUPINGS:
            done = served.devflow("report", "--by", by, "--json")
            assert done.status == 0, done.err
            (row,) = done.document["rows"]
            assert row["requests"] == 1
            assert row["key"] == SHOWN.get(by, row["key"])
        exported = served.devflow("ledger", "export", "--csv")
        (line,) = csv.DictReader(io.StringIO(exported.out))
        assert {line["session_id"], line["agent"]} == {"s1", "a1"}
        columns = {one.name: one.export_column or "" for one in DIMENSIONS if one.header}
        assert {name: line[columns[name]] for name in HEADERS} == {
            name: f"the-{name}" for name in HEADERS
        }


def test_every_scope_caps_its_own_and_nobody_else(tmp_path: Path, upstream: dict[str, str]) -> None:
    others = {**dict.fromkeys(LABELS, "other"), "User-Agent": "x"}
    with serve(tmp_path, **upstream) as served:
        keys = {name: served.make_key(name) for name in ("ci", "laptop")}
        for scope in BUDGET_SCOPES:
            if scope in {"model", "task"}:  # capped by what is asked, not by who asks
                continue
            set_budget = ("budget", "set", "--scope", scope, "--window", "day", "--limit", "0")
            done = served.devflow(*set_budget, "--value", SHOWN[scope], "--json")
            assert done.status == 0, done.err
            ours = served.ask("POST", PATH, ASK, LABELS, key=keys["ci"])
            theirs = served.ask("POST", PATH, ASK, others, key=keys["laptop"])
            assert (ours.status, theirs.status) == (402, 200), (scope, ours.body, theirs.body)
            assert served.devflow("budget", "remove", done.document["id"]).status == 0


def test_a_scope_or_grouping_that_is_none_is_named_with_those_that_are(
    tmp_path: Path, upstream: dict[str, str]
) -> None:
    with serve(tmp_path, "--no-key", **upstream) as served:
        budget = served.devflow(
            "budget", "set", "--scope", "planet", "--value", "x", "--limit", "1"
        )
        report = served.devflow("report", "--by", "planet")
        assert budget.status
        assert report.status
        assert all(name in budget.err for name in BUDGET_SCOPES)
        assert all(name in report.err for name in GROUPINGS)
